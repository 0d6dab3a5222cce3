//! Every sentence about a protected herd, to be read as whoever is woken by it reads it.

use std::fmt::Write as _;
use std::time::Duration;

use insta::assert_snapshot;
use manada_core::action::Rung;
use manada_core::loss::LossBound;
use manada_core::obstacle::{ForeignSetting, Obstacle, SettingPlace, Unfit};
use manada_core::policy::{Policy, Published};
use manada_core::position::{Epoch, RuleId};
use manada_core::reason::Reason;
use manada_core::server::Gate;
use manada_core::standing::{PromotionStage, Standing};
use manada_model::{Lsn, NodeName, StartFailure, StartTrouble, SyncMethod};

use super::{obstacle, reason, standing};

fn name(text: &str) -> NodeName {
    text.parse().expect("valid")
}

fn names(texts: &[&str]) -> Vec<NodeName> {
    texts.iter().map(|text| name(text)).collect()
}

fn policy(method: SyncMethod, count: u32, standbys: &[&str]) -> Policy {
    Policy {
        method,
        count,
        standbys: names(standbys),
    }
}

fn published(policy: Policy) -> Published {
    Published {
        leader: name("ana"),
        policy,
    }
}

#[test]
fn what_stands_in_the_way_and_what_would_unblock_it() {
    let synchronous = published(policy(SyncMethod::Any, 1, &["beto", "carla"]));
    let not_covered = |published: Published, missing: &[&str], needed| Obstacle::NotCovered {
        published,
        recruits: names(&["dora"]),
        missing: names(missing),
        needed,
    };
    let unfit = |successor: Option<&str>, unfit| Obstacle::SuccessorUnfit {
        successor: successor.map(name),
        unfit,
    };
    let ana = || name("ana");
    let foreign = |value: &str, place, is_primary| Obstacle::ForeignSetting {
        setting: ForeignSetting {
            value: value.to_owned(),
            place,
        },
        is_primary,
    };
    let line = || SettingPlace::Line {
        file: "/etc/postgresql/15/main/postgresql.conf".to_owned(),
        line: 812,
    };
    let fails = |failures, trouble: Option<(StartFailure, &str)>| Obstacle::StartFails {
        failures,
        trouble: trouble.map(|(failure, said)| StartTrouble {
            failure,
            said: said.to_owned(),
        }),
    };
    let all = [
        Obstacle::NoRecord,
        Obstacle::NotAMember,
        foreign("", line(), true),
        foreign("ANY 1 (zoe)", SettingPlace::CommandLine, true),
        foreign("*", line(), false),
        Obstacle::Paused,
        Obstacle::StoreUnreachable,
        Obstacle::RecordLost,
        Obstacle::StoreRefuses { said: None },
        Obstacle::StoreRefuses {
            said: Some("etcdserver: mvcc: database space exceeded".to_owned()),
        },
        Obstacle::StoreRefuses {
            said: Some("etcdserver: permission denied".to_owned()),
        },
        Obstacle::StoreRefuses {
            said: Some("etcdserver: authentication failed, invalid user ID or password".to_owned()),
        },
        Obstacle::StoreRefuses {
            said: Some("invalid peer certificate: UnknownIssuer".to_owned()),
        },
        Obstacle::LeaseHolds {
            leader: ana(),
            holds_for: Duration::from_millis(2100),
        },
        Obstacle::LeaderAnswers { leader: ana() },
        Obstacle::AskingLeader { leader: ana() },
        Obstacle::ReceivesNothing { leader: ana() },
        Obstacle::NotMyTurn { before: 0 },
        Obstacle::NotMyTurn { before: 1 },
        Obstacle::NotMyTurn { before: 2 },
        Obstacle::NeverLeads,
        Obstacle::PromotedByHand,
        not_covered(synchronous.clone(), &["beto", "carla"], Some(2)),
        not_covered(synchronous, &["beto"], Some(1)),
        not_covered(published(Policy::asynchronous()), &[], None),
        Obstacle::AwaitingRecruits {
            of: names(&["ana", "beto"]),
        },
        Obstacle::NobodyMayLead,
        Obstacle::LossTooLarge {
            bytes: Some(16 << 20),
            bound: 1 << 20,
        },
        Obstacle::LossTooLarge {
            bytes: None,
            bound: 1 << 20,
        },
        Obstacle::AwaitingLeaseEnd { leader: ana() },
        Obstacle::FetchingWal {
            from: name("witness"),
            by: name("beto"),
        },
        Obstacle::PromisedHigher {
            promised: Epoch(8),
            recorded: Epoch(7),
        },
        Obstacle::TooFewStandbys {
            streaming: 0,
            needed: 1,
            away: names(&["beto", "carla"]),
        },
        Obstacle::TooFewStandbys {
            streaming: 1,
            needed: 2,
            away: Vec::new(),
        },
        Obstacle::QuorumBehind {
            behind: names(&["beto"]),
        },
        Obstacle::PolicyUnattainable {
            wanted: 2,
            available: 1,
        },
        Obstacle::NotTheLeader {
            leader: Some(ana()),
        },
        Obstacle::NotTheLeader { leader: None },
        unfit(Some("zoe"), Unfit::Unknown),
        unfit(Some("ana"), Unfit::Leads),
        unfit(Some("beto"), Unfit::NeverLeads),
        unfit(Some("beto"), Unfit::NotStreaming),
        unfit(Some("beto"), Unfit::Behind),
        unfit(None, Unfit::Nobody),
        Obstacle::LeaderNotReady { leader: ana() },
        Obstacle::RejoinBudgetSpent {
            rung: Rung::Clone,
            tries: 5,
        },
        Obstacle::ServerStarts {
            took: Duration::from_millis(754_321),
        },
        fails(1, None),
        fails(3, None),
        fails(
            12,
            Some((
                StartFailure::Configuration,
                "syntax error in file \"/d/postgresql.conf\" line 816, near token \"=\"",
            )),
        ),
        fails(
            2,
            Some((
                StartFailure::PortTaken,
                "could not create any TCP/IP sockets",
            )),
        ),
        fails(
            2,
            Some((
                StartFailure::Other,
                "could not locate a valid checkpoint record",
            )),
        ),
        fails(
            2,
            Some((
                StartFailure::NotRun,
                "can't open the log /l: Permission denied",
            )),
        ),
        Obstacle::Retrying { failures: 1 },
        Obstacle::Retrying { failures: 3 },
    ];
    let mut text = String::new();
    for one in &all {
        let _ = writeln!(text, "{}", obstacle::sentence(one));
        if let Some(remedy) = obstacle::remedy(one) {
            let _ = writeln!(text, "    next: {remedy}");
        }
    }
    assert_snapshot!("obstacles", text);
}

#[test]
fn why_something_was_done() {
    let ana = || name("ana");
    let all = [
        Reason::LeaseLapsed { leader: ana() },
        Reason::LeaseLapsedAsking { leader: ana() },
        Reason::LeaderResigned { leader: ana() },
        Reason::OperatorAsked,
        Reason::CoordinatorSilent {
            coordinator: name("beto"),
        },
        Reason::PromisedHigher { promised: Epoch(8) },
        Reason::Recruited {
            epoch: Epoch(7),
            coordinator: name("beto"),
        },
        Reason::Recruiting { epoch: Epoch(7) },
        Reason::WalIsElsewhere {
            holder: name("witness"),
            upto: Lsn(0x5000_0028),
        },
        Reason::Covered { epoch: Epoch(7) },
        Reason::LossAccepted {
            bytes: Some(8192),
            bound: LossBound::Bytes(1 << 20),
        },
        Reason::LossAccepted {
            bytes: None,
            bound: LossBound::Any,
        },
        Reason::Chosen { epoch: Epoch(7) },
        Reason::ReignBegins { epoch: Epoch(7) },
        Reason::QuorumHasRule {
            rule: RuleId {
                epoch: Epoch(7),
                sub: 0,
            },
        },
        Reason::QuorumCaughtUp,
        Reason::NotYetCaughtUp,
        Reason::BeatDue,
        Reason::AgentRestarts,
        Reason::NobodyTakesOver,
        Reason::ServerGone,
        Reason::PromotionFailed,
        Reason::ServerHung,
        Reason::Isolated,
        Reason::LeaseEnded,
        Reason::Asynchronous,
        Reason::Synchronous,
        Reason::PolicyAttainable {
            joined: names(&["carla"]),
            left: Vec::new(),
        },
        Reason::PolicyAttainable {
            joined: Vec::new(),
            left: names(&["beto", "carla"]),
        },
        Reason::PolicyAttainable {
            joined: Vec::new(),
            left: Vec::new(),
        },
        Reason::PolicyChange,
        Reason::PolicyForeign,
        Reason::HandingOver {
            successor: name("beto"),
        },
        Reason::HandoverStalled,
        Reason::Superseded { epoch: Epoch(7) },
        Reason::ServerStopped,
        Reason::PartOfHistory { leader: ana() },
        Reason::Diverged { leader: ana() },
        Reason::PromotedByHand,
        Reason::DataUnusable,
        Reason::Rejoined,
        Reason::RecordChanged,
    ];
    let sentences: Vec<String> = all.iter().map(reason).collect();
    assert_snapshot!("reasons", sentences.join("\n"));
}

#[test]
fn what_a_node_is() {
    let (ana, beto, epoch) = (|| name("ana"), || name("beto"), Epoch(7));
    let leading = |gate, policy, changing| Standing::Leading {
        epoch,
        gate,
        policy,
        changing,
    };
    let any = policy(SyncMethod::Any, 1, &["beto", "carla"]);
    let first = policy(SyncMethod::First, 1, &["beto", "carla"]);
    let all = [
        Standing::NoRecord,
        Standing::Outsider,
        Standing::Recruited {
            epoch,
            coordinator: Some(beto()),
            answered: true,
        },
        Standing::Recruited {
            epoch,
            coordinator: None,
            answered: false,
        },
        Standing::Electing {
            epoch,
            recruits: 2,
            covered: false,
        },
        Standing::Electing {
            epoch,
            recruits: 2,
            covered: true,
        },
        Standing::Promoting {
            epoch,
            stage: PromotionStage::Promising,
        },
        Standing::Promoting {
            epoch,
            stage: PromotionStage::Promoting,
        },
        Standing::Promoting {
            epoch,
            stage: PromotionStage::WritingRule,
        },
        Standing::Promoting {
            epoch,
            stage: PromotionStage::AwaitingQuorum,
        },
        Standing::Promoting {
            epoch,
            stage: PromotionStage::Opening,
        },
        leading(Gate::Open, any.clone(), false),
        leading(Gate::Open, first, true),
        leading(Gate::Closed, any, false),
        leading(Gate::Open, Policy::asynchronous(), false),
        Standing::Reopening { epoch },
        Standing::HandingOver { successor: beto() },
        Standing::Resigned {
            epoch,
            successor: Some(beto()),
        },
        Standing::Resigned {
            epoch,
            successor: None,
        },
        Standing::SteppingDown { epoch },
        Standing::Following {
            leader: ana(),
            epoch,
            streams: true,
        },
        Standing::Following {
            leader: ana(),
            epoch,
            streams: false,
        },
        Standing::Rejoining {
            leader: ana(),
            rung: Rung::Rewind,
            tries: 1,
        },
        Standing::Stuck {
            leader: ana(),
            rung: Rung::Clone,
            tries: 5,
        },
    ];
    let sentences: Vec<String> = all.iter().map(standing).collect();
    assert_snapshot!("standings", sentences.join("\n"));
}

//! One leader after the other.

use std::fs;

use manada_agent::server::OrderError;
use manada_core::action::{Order, Stop};
use manada_core::input::Outcome;
use manada_core::obstacle::{ForeignSetting, SettingPlace};
use manada_core::server::{Enforced, Gate};
use manada_model::Lsn;
use manada_postgres::Session;
use manada_postgres::settings::INCLUDE_LINE;
use manada_testbed::{Outcome as TestOutcome, Programs};

use crate::flock::{Bird, Flock, any_1, block_on, name, rule, rule_id};

pub(crate) fn a_standby_takes_over_and_the_other_follows(programs: Programs) -> TestOutcome {
    block_on(async {
        let flock = Flock::of(&programs, 2).await;
        let (n1, n2, n3) = (flock.n1(), flock.n2(), flock.n3());
        n1.done(Order::Enforce(Enforced::Policy(any_1(&["n2", "n3"]))))
            .await;
        let Outcome::RuleWritten { lsn } = n1.done(Order::WriteRule(rule(1, 0, "n1"))).await else {
            panic!("no rule");
        };
        let facts = n1
            .primary_that("is followed by two", |facts| {
                facts
                    .followers
                    .iter()
                    .filter(|it| it.flush_lsn >= lsn)
                    .count()
                    == 2
            })
            .await;
        assert_eq!(facts.enforced, Enforced::Policy(any_1(&["n2", "n3"])));
        assert_eq!(facts.gate, Gate::Open);
        assert_eq!(facts.position.rule, rule_id(1, 0));
        n1.session()
            .await
            .batch_execute("SET synchronous_commit = on; CREATE TABLE seen AS SELECT 1 AS number")
            .await
            .expect("acknowledged");
        // One of them has acknowledged it, either of them.
        let written: Lsn = n1
            .value("SELECT pg_current_wal_flush_lsn()::text")
            .await
            .parse()
            .expect("an LSN");
        for standby in [n2, n3] {
            standby
                .standby_that("has it", |facts| facts.position.flush_lsn >= written)
                .await;
        }

        n1.done(Order::Stop(Stop::Immediate)).await;
        n1.server.died().await;
        for recruit in [n2, n3] {
            recruit.done(Order::StopReceiving).await;
            let facts = recruit
                .standby_that("is settled", |facts| facts.settled)
                .await;
            assert_eq!(facts.follows, None);
            assert!(!facts.streams);
            assert_eq!(facts.position.rule, rule_id(1, 0));
            assert!(facts.position.flush_lsn >= lsn);
        }
        n2.done(Order::Promote).await;
        let facts = n2.primary_that("is promoted", |_| true).await;
        assert_eq!(facts.enforced, Enforced::Nobody);
        assert_eq!(facts.gate, Gate::Closed);
        // Somebody has dropped what the herd remembers.
        let drop = "SET synchronous_commit = local; DROP SCHEMA manada CASCADE";
        let dropped = n2.session().await.batch_execute(drop).await;
        dropped.expect("dropped");
        let Outcome::RuleWritten { lsn } = n2.done(Order::WriteRule(rule(2, 0, "n2"))).await else {
            panic!("no rule");
        };
        n3.done(Order::Follow { leader: name("n2") }).await;
        n2.primary_that("has its rule at n3", |facts| {
            facts
                .followers
                .iter()
                .any(|it| it.name == name("n3") && it.streaming && it.flush_lsn >= lsn)
        })
        .await;
        n2.done(Order::Enforce(Enforced::Policy(any_1(&["n3"]))))
            .await;
        n2.done(Order::SetGate(Gate::Open)).await;
        let facts = n2.primary_that("lets clients in", |_| true).await;
        assert_eq!(facts.gate, Gate::Open);
        assert_eq!(facts.enforced, Enforced::Policy(any_1(&["n3"])));
        n2.session()
            .await
            .batch_execute("SET synchronous_commit = on; INSERT INTO seen VALUES (2)")
            .await
            .expect("acknowledged");
        assert_eq!(
            n2.value("SELECT string_agg(number::text, ' ') FROM seen")
                .await,
            "1 2"
        );
        assert_eq!(
            n3.value("SELECT epoch::text FROM manada.rule ORDER BY epoch DESC LIMIT 1")
                .await,
            "2"
        );
    });
    Ok(())
}

pub(crate) fn what_alter_system_sets_does_not_outlast_an_order() -> TestOutcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        let policy = Enforced::Policy(any_1(&["n2"]));
        n1.done(Order::Enforce(policy.clone())).await;
        n1.alter_system("synchronous_standby_names = ''").await;
        n1.primary_that("waits for nobody", |facts| facts.enforced != policy)
            .await;
        n1.done(Order::Enforce(policy.clone())).await;
        n1.primary_that("waits again", |facts| facts.enforced == policy)
            .await;

        let leader = n2.value("SHOW primary_conninfo").await;
        let leader = format!("primary_conninfo = '{}'", leader.replace('\'', "''"));
        n2.alter_system(&leader).await;
        n2.done(Order::StopReceiving).await;
        let facts = n2.standby_that("is settled", |facts| facts.settled).await;
        assert_eq!((facts.follows, facts.streams), (None, false));

        n2.alter_system("primary_slot_name = 'of_nobody'").await;
        n2.done(Order::Follow { leader: name("n1") }).await;
        n2.standby_that("streams again", |facts| facts.streams)
            .await;

        n2.alter_system("hot_standby = off").await;
        n2.done(Order::Stop(Stop::Fast)).await;
        n2.done(Order::StartStandby { follow: None }).await;
        n2.standby_that("takes sessions", |_| true).await;

        // A server that is killed before the agent sees it.
        n1.alter_system("synchronous_standby_names = ''").await;
        n1.done(Order::Stop(Stop::Immediate)).await;
        n1.done(Order::StartPrimary).await;
        n1.primary_that("acknowledges nothing", |facts| {
            facts.enforced == Enforced::Nobody
        })
        .await;
    });
    Ok(())
}

pub(crate) fn what_a_database_has_as_its_default_does_not_bind_the_agent() -> TestOutcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        n1.done(Order::Enforce(Enforced::Policy(any_1(&["n2"]))))
            .await;
        for default in [
            "default_transaction_isolation = 'serializable'",
            "session_preload_libraries = 'not_installed'",
            "default_transaction_read_only = on",
        ] {
            let set = format!("ALTER DATABASE postgres SET {default}");
            n1.session().await.batch_execute(&set).await.expect("set");
        }
        let Outcome::RuleWritten { lsn } = n1.done(Order::WriteRule(rule(1, 0, "n1"))).await else {
            panic!("no rule");
        };
        n2.standby_that("has it", |facts| facts.position.flush_lsn >= lsn)
            .await;
        // It is looked at in a new session.
        n2.done(Order::Stop(Stop::Fast)).await;
        let follow = Some(name("n1"));
        n2.done(Order::StartStandby { follow }).await;
        n2.standby_that("shows the rule", |facts| {
            facts.position.rule == rule_id(1, 0)
        })
        .await;
    });
    Ok(())
}

pub(crate) fn a_configuration_that_somebody_replaces_includes_the_agents_again() -> TestOutcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        let policy = Enforced::Policy(any_1(&["n2"]));
        n1.done(Order::Enforce(policy.clone())).await;
        let without_include = |bird: &Bird| {
            let config_file = &bird.node.file.config_file;
            let text = fs::read_to_string(config_file).expect("there");
            let kept = text.replace(INCLUDE_LINE, "");
            fs::write(config_file, kept).expect("written");
        };
        without_include(n1);
        n1.value("SELECT pg_reload_conf()::text").await;
        n1.primary_that("waits for nobody", |facts| facts.enforced != policy)
            .await;
        n1.done(Order::Enforce(policy.clone())).await;
        n1.primary_that("waits again", |facts| facts.enforced == policy)
            .await;

        n2.done(Order::Stop(Stop::Fast)).await;
        without_include(n2);
        let follow = Some(name("n1"));
        n2.done(Order::StartStandby { follow }).await;
        n2.standby_that("streams", |facts| facts.streams).await;
    });
    Ok(())
}

pub(crate) fn a_database_that_is_closed_to_sessions_is_opened_again() -> TestOutcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        let beside = n1.node.superuser().with_dbname("template1");
        let peer = n1.node.peer().expect("a user");
        let session = Session::open_as(&beside, Some(peer)).await.expect("open");
        let close = "ALTER DATABASE postgres WITH ALLOW_CONNECTIONS false";
        session.batch_execute(close).await.expect("closed");
        // Each order has a session of its own.
        n1.done(Order::Enforce(Enforced::Policy(any_1(&["n2"]))))
            .await;
        n2.value_is(
            "SELECT datallowconn::text FROM pg_database WHERE datname = 'postgres'",
            "true",
        )
        .await;
    });
    Ok(())
}

pub(crate) fn nobody_is_promoted_where_somebody_else_sets_what_commits_wait_for(
    programs: Programs,
) -> TestOutcome {
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let n2 = flock.n2();
        let config_file = &n2.node.file.config_file;
        let before = fs::read_to_string(config_file).expect("there");
        let line = "synchronous_standby_names = '*'\n";
        fs::write(config_file, format!("{before}{line}")).expect("written");
        n2.value("SELECT pg_reload_conf()::text").await;
        let foreign = n2.server.foreign_setting();
        n2.that("has read it", |_| foreign.borrow().is_some()).await;
        let setting = ForeignSetting {
            value: "*".to_owned(),
            place: SettingPlace::Line {
                file: config_file.to_string_lossy().into_owned(),
                line: u32::try_from(before.lines().count() + 1).expect("few lines"),
            },
        };
        assert_eq!(*foreign.borrow(), Some(setting));
        n2.done(Order::StopReceiving).await;
        let refused = n2.server.carry_out(&Order::Promote).await;
        assert!(
            matches!(refused, Err(OrderError::Foreign { .. })),
            "{refused:?}"
        );
        n2.standby_that("is a standby still", |_| true).await;

        fs::write(config_file, before).expect("written");
        n2.value("SELECT pg_reload_conf()::text").await;
        n2.that("has read it", |_| foreign.borrow().is_none()).await;
        n2.done(Order::Promote).await;
        n2.primary_that("acknowledges nothing", |facts| {
            facts.enforced == Enforced::Nobody
        })
        .await;
    });
    Ok(())
}

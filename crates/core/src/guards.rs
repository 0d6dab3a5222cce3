//! The conditions on which safety rests, each by its name.

use std::collections::BTreeSet;

/// A condition without which an acknowledged commit can be lost, or two nodes can acknowledge.
///
/// All of them hold always. With feature `mutation`, tests can leave one out, to see that they
/// notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// A new leader is chosen only when the recruits cover every published policy.
    CoverEveryPolicy,
    /// The new leader is the one with the highest rule, then the furthest WAL.
    HighestRuleFirst,
    /// A promise is durable before it is said.
    PersistBeforeSaying,
    /// That a node is about to be promoted is durable before it is.
    PersistBeforePromoting,
    /// A recruit says where its WAL ends only when nothing more can come.
    StopReceivingBeforeAnswer,
    /// A leader that is recruited stops its server before it answers.
    StopRecruitedLeader,
    /// A node follows no leader of an epoch before the one that it has promised.
    NeverFollowBelowPromise,
    /// A new leader's commits wait for a name that nobody bears until its quorum has its rule.
    PlaceholderUntilRule,
    /// What was published stays published until the quorum has the rule.
    PublishUntilRule,
    /// A policy is published before it is put in force.
    PublishBeforeEnforce,
    /// A policy is put in force only once the store has confirmed the record to this agent.
    ConfirmBeforeEnforce,
    /// What walsenders may mix while they go over from one policy to another is published as well.
    PublishMixture,
    /// A policy's rule is written only once the policy is in force.
    EnforceBeforeRule,
    /// Clients get in only when the quorum has all that they may see.
    CatchUpBeforeOpening,
    /// A node follows only where its WAL is a part of the leader's history.
    FollowOnlyOwnHistory,
    /// A node of priority 0, or a witness, never leads.
    NeverLeads,
    /// An asynchronous leader is replaced only after its lease has lapsed.
    LapseBeforeLoss,
    /// An asynchronous leader that has resigned, and goes on, has made its word void before.
    WithdrawResignation,
    /// At most so much is given up as is allowed.
    BoundLoss,
}

impl Guard {
    /// All of them.
    pub const ALL: [Guard; 19] = [
        Guard::CoverEveryPolicy,
        Guard::HighestRuleFirst,
        Guard::PersistBeforeSaying,
        Guard::PersistBeforePromoting,
        Guard::StopReceivingBeforeAnswer,
        Guard::StopRecruitedLeader,
        Guard::NeverFollowBelowPromise,
        Guard::PlaceholderUntilRule,
        Guard::PublishUntilRule,
        Guard::PublishBeforeEnforce,
        Guard::ConfirmBeforeEnforce,
        Guard::PublishMixture,
        Guard::EnforceBeforeRule,
        Guard::CatchUpBeforeOpening,
        Guard::FollowOnlyOwnHistory,
        Guard::NeverLeads,
        Guard::LapseBeforeLoss,
        Guard::WithdrawResignation,
        Guard::BoundLoss,
    ];
}

/// Which guards hold: all, unless a test left one out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Guards {
    left_out: BTreeSet<Guard>,
}

impl Guards {
    /// Whether it holds.
    pub fn has(&self, guard: Guard) -> bool {
        !self.left_out.contains(&guard)
    }

    /// Leaves one out.
    #[cfg(feature = "mutation")]
    pub fn without(mut self, guard: Guard) -> Guards {
        self.left_out.insert(guard);
        self
    }
}

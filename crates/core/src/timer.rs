//! The times the core waits for, each with its name, and how long each is.

use std::time::Duration;

use manada_model::NodeName;
use serde::{Deserialize, Serialize};

/// A moment, as the time since the machine booted, its sleep included (`CLOCK_BOOTTIME`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(pub Duration);

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, later: Duration) -> Moment {
        Moment(self.0 + later)
    }
}

/// What is waited for. Decisions compare no times: they ask whether a timer has fired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// The leader's next sign of life is due.
    Beat,
    /// The leader's own lease ends: measured from before the last successful renewal was sent.
    LeaseEnds,
    /// The leader's lease has not changed for as long as it holds.
    LeaseLapsed,
    /// It is this node's turn to campaign.
    Campaign,
    /// A coordinator stops waiting for further recruits.
    RecruitsIn,
    /// An election has come to nothing.
    ElectionStalled,
    /// A coordinator asks again those that have not answered.
    AskAgain,
    /// The leader has not heard enough of its standbys for too long.
    QuorumSilent,
    /// The server has not answered for too long.
    ServerHung,
    /// The leader's server has been starting for so long that another may take over.
    StartsLong,
    /// A standby has not streamed for long, although its leader is well: its WAL may be gone there.
    Starved,
    /// A standby has been away long enough to be left out of the policy.
    Away(NodeName),
    /// A standby has streamed long enough to be taken into the policy.
    Settled(NodeName),
    /// What the server failed to do is tried again.
    Retry,
    /// What the store failed to do is tried again.
    RetryStore,
    /// A promise that could not be made durable is tried again.
    RetryPromise,
    /// Bringing the data back into the leader's history is tried again.
    RejoinAgain,
    /// What an operator asked for could not be begun in time; or a leader that hands over waits no
    /// longer for its server to stop cleanly.
    HandoverStalled,
}

/// How long a lease holds whose leader's agent is about to restart.
pub const AGENT_RESTART: Duration = Duration::from_secs(30);

/// How long each of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timings {
    /// From one beat of the lease to the next.
    pub beat: Duration,
    /// How long a lease holds after a beat. Longer than the stall that must not cause a failover,
    /// and a beat, and the time of a request.
    pub lease: Duration,
    /// How much later each next one in the ranking campaigns.
    pub campaign_step: Duration,
    /// How long a coordinator that has enough recruits waits for the rest.
    pub recruits_in: Duration,
    /// How long an election may take.
    pub election: Duration,
    /// The pause before asking again.
    pub ask_again: Duration,
    /// How long a quorum may be silent.
    pub quorum_silent: Duration,
    /// How long a leader's or a recruit's server may be silent. One that follows has as long as it
    /// may be without WAL.
    pub server_hung: Duration,
    /// How long a leader's server may take to start before somebody else may lead. A recovery can
    /// take longer, and goes on.
    pub starts_long: Duration,
    /// How long a standby may be without WAL from a leader that is well.
    pub starved: Duration,
    /// How long a standby may be away.
    pub away: Duration,
    /// How long a standby must have streamed.
    pub settled: Duration,
    /// The pause before another try; it doubles, up to 32 times this.
    pub retry: Duration,
    /// How long a clean stop may take.
    pub handover: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            beat: Duration::from_millis(300),
            lease: Duration::from_millis(2100),
            campaign_step: Duration::from_millis(250),
            recruits_in: Duration::from_millis(60),
            election: Duration::from_millis(1500),
            ask_again: Duration::from_millis(100),
            quorum_silent: Duration::from_millis(4000),
            server_hung: Duration::from_millis(5000),
            starts_long: Duration::from_secs(30),
            starved: Duration::from_secs(20),
            away: Duration::from_secs(5),
            settled: Duration::from_secs(1),
            retry: Duration::from_millis(250),
            handover: Duration::from_secs(5),
        }
    }
}

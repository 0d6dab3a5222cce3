//! A node as it is seen from a moment: for tests that ask whether a situation recurs.

use crate::node::Node;
use crate::timer::Moment;

impl Node {
    /// The same node, with its moments counted from that one, and the leader's beats from that
    /// one. Two nodes that are equal so do the same, as long as they are given the same.
    pub fn relative_to(&self, now: Moment, beat: u64) -> Node {
        let until = |moment: Moment| Moment(moment.0.saturating_sub(now.0));
        let mut node = self.clone();
        for due in node.armed.values_mut() {
            *due = until(*due);
        }
        if let Some(renewal) = &mut node.lanes.renewal {
            renewal.ordered = Moment(now.0.saturating_sub(renewal.ordered.0));
        }
        // It counts only until the try that began then has ended.
        node.rejoin.began = Moment::default();
        node.lanes.deadman = node.lanes.deadman.map(|deadline| deadline.map(until));
        node.lanes.deadline = node.lanes.deadline.map(|deadline| deadline.map(until));
        if let Some(lease) = &mut node.lease {
            lease.beat = lease.beat.wrapping_sub(beat);
        }
        node
    }
}

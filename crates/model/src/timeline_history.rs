//! A timeline's ancestry: the content of a `.history` file.
//!
//! Source: `timeline.c` of PostgreSQL 15 to 18.

use crate::{Lsn, TimelineId, WalPosition};

/// The timelines a timeline descends from, oldest first, and where each was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineHistory {
    timeline: TimelineId,
    ancestors: Vec<WalPosition>,
}

/// A line of a history file that PostgreSQL would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseHistoryError {
    /// Not "number, LSN, reason".
    #[error("timeline {timeline}'s history, line {line}: {text:?} is not a timeline and an LSN")]
    Line {
        /// Whose history it is.
        timeline: TimelineId,
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// The numbers must rise, and stay below the timeline's own.
    #[error("timeline {timeline}'s history, line {line}: timeline {ancestor} stands out of order")]
    Order {
        /// Whose history it is.
        timeline: TimelineId,
        /// The line's number, from 1.
        line: usize,
        /// The number out of order.
        ancestor: TimelineId,
    },
}

impl TimelineHistory {
    /// The history of a timeline without ancestors: timeline 1 has no file.
    pub fn without_ancestors(timeline: TimelineId) -> TimelineHistory {
        TimelineHistory {
            timeline,
            ancestors: Vec::new(),
        }
    }

    /// Reads the content of `timeline`'s history file: on each line a timeline, the LSN at which it
    /// was left and a reason; `#` begins a comment.
    pub fn parse(
        timeline: TimelineId,
        content: &str,
    ) -> Result<TimelineHistory, ParseHistoryError> {
        let mut ancestors: Vec<WalPosition> = Vec::new();
        for (index, text) in content.lines().enumerate() {
            let line = index + 1;
            let fields = text.trim_start();
            if fields.is_empty() || fields.starts_with('#') {
                continue;
            }
            let position = parse_line(fields).ok_or_else(|| ParseHistoryError::Line {
                timeline,
                line,
                text: text.chars().take(80).collect(),
            })?;
            let follows = ancestors
                .last()
                .is_none_or(|last| last.timeline < position.timeline);
            if !follows || position.timeline >= timeline {
                return Err(ParseHistoryError::Order {
                    timeline,
                    line,
                    ancestor: position.timeline,
                });
            }
            ancestors.push(position);
        }
        Ok(TimelineHistory {
            timeline,
            ancestors,
        })
    }

    /// The timeline whose history this is.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Its ancestors, oldest first, each with the LSN at which it was left.
    pub fn ancestors(&self) -> &[WalPosition] {
        &self.ancestors
    }

    /// Where this history left `timeline`; `None` where it never was on it, or still is.
    pub fn left_at(&self, timeline: TimelineId) -> Option<Lsn> {
        let found = self
            .ancestors
            .iter()
            .find(|ancestor| ancestor.timeline == timeline);
        found.map(|ancestor| ancestor.lsn)
    }

    /// Whether the WAL up to `position` is a part of this history, so that a server standing there
    /// can follow it.
    pub fn contains(&self, position: WalPosition) -> bool {
        position.timeline == self.timeline
            || self
                .left_at(position.timeline)
                .is_some_and(|left| position.lsn <= left)
    }
}

fn parse_line(fields: &str) -> Option<WalPosition> {
    let mut fields = fields.split_ascii_whitespace();
    let timeline = fields.next()?.parse().ok().map(TimelineId)?;
    let lsn = fields.next()?.parse().ok()?;
    Some(WalPosition { timeline, lsn })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &str = "1\t0/30000A0\tno recovery target specified\n\n\
        # a comment\n2\t0/5000000\tbefore 2024-01-01 00:00:00+00\n";

    fn position(timeline: u32, lsn: u64) -> WalPosition {
        WalPosition {
            timeline: TimelineId(timeline),
            lsn: Lsn(lsn),
        }
    }

    #[test]
    fn a_server_before_the_fork_belongs_and_one_behind_it_does_not() {
        let history = TimelineHistory::parse(TimelineId(3), CONTENT).expect("a history");
        assert_eq!(
            history.ancestors(),
            [position(1, 0x300_00A0), position(2, 0x500_0000)]
        );
        assert!(history.contains(position(1, 0x300_00A0)));
        assert!(!history.contains(position(1, 0x300_00A1)));
        assert!(history.contains(position(2, 0x400_0000)));
        assert!(history.contains(position(3, u64::MAX)));
        assert!(!history.contains(position(4, 1)));
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        let parse = |content| TimelineHistory::parse(TimelineId(3), content);
        assert!(matches!(
            parse("1\t0/1\n\nnonsense"),
            Err(ParseHistoryError::Line { line: 3, .. })
        ));
        assert!(matches!(
            parse("2\t0/1\n1\t0/2"),
            Err(ParseHistoryError::Order { line: 2, .. })
        ));
        assert!(matches!(
            parse("3\t0/1"),
            Err(ParseHistoryError::Order { line: 1, .. })
        ));
    }
}

//! What was given out and has not ended, and what the log says when it has.

use manada_core::input::Outcome;
use manada_core::timer::Moment;
use manada_model::wording::duration;

use crate::clock;

/// An order that was given out.
pub(super) struct Deed {
    pub(super) given_at: Moment,
    /// What it is and why, for the log, if it matters to the herd.
    pub(super) told_as: Option<(String, String)>,
    /// Whether it is told only where it fails.
    pub(super) is_routine: bool,
}

/// Says how deeds have ended.
#[derive(Default)]
pub(super) struct Teller {
    /// What goes on all the time and failed last, and its error.
    failure: Option<(String, Option<String>)>,
}

impl Teller {
    /// What goes on all the time is said where it fails, and once as long as it fails in the same way.
    pub(super) fn tell(&mut self, deed: Deed, outcome: &Outcome, error: Option<&str>) {
        let Some((did, because)) = deed.told_as else {
            return;
        };
        if deed.is_routine && !self.is_new_failure(&did, outcome, error) {
            return;
        }
        let took = duration(clock::since(deed.given_at));
        let error = error.unwrap_or("no word of why");
        match outcome {
            Outcome::Done | Outcome::Swapped { .. } | Outcome::RuleWritten { .. } => {
                tracing::info!("{did} ({took}): {because}");
            }
            Outcome::Conflict(_) => tracing::info!("{did} (somebody else was first): {because}"),
            Outcome::Unknown => {
                tracing::warn!("{did} (whether it was done is not known, {error}): {because}");
            }
            Outcome::Failed | Outcome::Hindered => {
                tracing::warn!("{did} (failed after {took}, {error}): {because}");
            }
        }
    }
    fn is_new_failure(&mut self, did: &str, outcome: &Outcome, error: Option<&str>) -> bool {
        let fails = matches!(
            outcome,
            Outcome::Failed | Outcome::Hindered | Outcome::Unknown
        );
        if fails {
            let failure = Some((did.to_owned(), error.map(str::to_owned)));
            let is_new = self.failure != failure;
            self.failure = failure;
            return is_new;
        }
        if self
            .failure
            .as_ref()
            .is_some_and(|(failed, _)| failed == did)
        {
            self.failure = None;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_new_again_once_it_was_over() {
        let mut teller = Teller::default();
        let mut is_new = |did: &str, outcome| teller.is_new_failure(did, &outcome, Some("full"));
        assert!(is_new("wrote rule 1.0", Outcome::Failed));
        assert!(!is_new("wrote rule 1.0", Outcome::Failed));
        assert!(!is_new("wrote a checkpoint", Outcome::Done));
        assert!(!is_new("wrote rule 1.0", Outcome::Failed));
        assert!(!is_new("wrote rule 1.0", Outcome::Done));
        assert!(is_new("wrote rule 1.0", Outcome::Failed));
    }
}

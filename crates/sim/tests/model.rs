//! Every order of events in small herds: no invariant breaks, and what must be reachable is.

use std::time::Duration;

use manada_sim::model::{Case, Report, Size};

/// How long a search may take on a busy machine. It counts states, so time decides nothing else.
const WITHIN: Duration = Duration::from_secs(600);

#[test]
fn within_small_bounds_every_state_is_sound() {
    for case in Case::all(Size::Small) {
        let report = Report::exhaustive(case.model(), WITHIN);
        assert!(report.complete, "{case}: {report}");
        assert_eq!(report.broken().count(), 0, "{case}: {report}");
    }
}

//! A mistake that a test has made, what doctor must have seen of it, and how it goes away.

use manada_doctor::Value;

use crate::bench::Bench;

/// A mistake that is there now.
pub(crate) struct Planted {
    seen: Vec<(String, Value)>,
    cure: Cure,
}

enum Cure {
    ItsFix,
    Undo(Box<dyn FnOnce(&mut Bench)>),
}

impl Planted {
    /// Doing what the finding says must silence the rule.
    pub(crate) fn cured_by_its_fix() -> Planted {
        Planted {
            seen: Vec::new(),
            cure: Cure::ItsFix,
        }
    }

    /// The finding leaves something to a person: this is what that person does.
    pub(crate) fn cured_by(undo: impl FnOnce(&mut Bench) + 'static) -> Planted {
        Planted {
            seen: Vec::new(),
            cure: Cure::Undo(Box::new(undo)),
        }
    }

    /// The finding's evidence must have this value.
    pub(crate) fn seen(mut self, name: &str, value: impl Into<Value>) -> Planted {
        self.seen.push((name.to_owned(), value.into()));
        self
    }
}

/// The rule finds it with the right values, and is silent once it is put right.
#[track_caller]
pub(crate) fn found_and_cured(number: u16, bench: &mut Bench, planted: Planted) {
    let found = bench.found_with(number, &planted.seen);
    for finding in &found {
        assert!(!finding.fix.is_empty(), "nothing to do: {finding:#?}");
    }
    match planted.cure {
        Cure::ItsFix => found.iter().for_each(|finding| bench.apply(&finding.fix)),
        Cure::Undo(undo) => undo(bench),
    }
    bench.silent(number);
}

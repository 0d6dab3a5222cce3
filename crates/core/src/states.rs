//! What a node can become, drawn and told in `docs/design/protection-states.md`.

use std::fmt::Write as _;

use crate::rules::RULES;
use crate::standing::StandingKind;
use StandingKind::{
    Electing, Following, HandingOver, Leading, NoRecord, Outsider, Promoting, Recruited, Rejoining,
    Reopening, Resigned, SteppingDown, Stuck,
};

/// A change of standing within a part.
struct Change(StandingKind, StandingKind, &'static str);

/// A change from one part to another: from whichever standing to whichever.
struct Crossing(Part, Part, &'static str);

/// Standings that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Outside,
    Election,
    Office,
    Service,
}

const PARTS: &[(Part, &str, &[StandingKind])] = &[
    (Part::Outside, "Outside", &[NoRecord, Outsider]),
    (Part::Election, "Election", &[Recruited, Electing]),
    (
        Part::Office,
        "Office",
        &[Promoting, Leading, Reopening, HandingOver, Resigned],
    ),
    (
        Part::Service,
        "Service",
        &[Following, Rejoining, Stuck, SteppingDown],
    ),
];

const CROSSINGS: &[Crossing] = &[
    Crossing(Part::Outside, Part::Election, "its record has no leader"),
    Crossing(Part::Outside, Part::Office, "its record has it as leader"),
    Crossing(
        Part::Outside,
        Part::Service,
        "its record has another leader",
    ),
    Crossing(Part::Election, Part::Office, "it is chosen"),
    Crossing(Part::Election, Part::Service, "another is chosen"),
    Crossing(Part::Office, Part::Election, "the epoch is raised"),
    Crossing(Part::Service, Part::Election, "the epoch is raised"),
    Crossing(Part::Office, Part::Service, "another leads, seen late"),
    Crossing(Part::Service, Part::Office, "it was chosen, seen late"),
    Crossing(Part::Election, Part::Outside, "it is forgotten"),
    Crossing(Part::Office, Part::Outside, "it is forgotten"),
    Crossing(Part::Service, Part::Outside, "it is forgotten"),
];

const CHANGES: &[Change] = &[
    Change(NoRecord, Outsider, "the record does not have it"),
    Change(Recruited, Electing, "it raises the epoch itself"),
    Change(Electing, Recruited, "another raises the epoch"),
    Change(
        Promoting,
        Leading,
        "the quorum has the rule: the gate opens",
    ),
    Change(Promoting, Reopening, "its policy is published alone"),
    Change(
        Promoting,
        Resigned,
        "its server is gone, or can't be promoted",
    ),
    Change(Reopening, Promoting, "its quorum is replaced"),
    Change(
        Reopening,
        Leading,
        "the quorum has caught up: the gate opens",
    ),
    Change(Reopening, Resigned, "its server is gone"),
    Change(
        Leading,
        Promoting,
        "its server was restarted amid a change of policy",
    ),
    Change(
        Leading,
        Reopening,
        "its server was restarted, or nobody can take over",
    ),
    Change(Leading, HandingOver, "a switchover: the gate closes"),
    Change(Leading, Resigned, "its server is gone"),
    Change(HandingOver, Resigned, "its server has stopped"),
    Change(HandingOver, Leading, "the switchover is given up"),
    Change(Resigned, Reopening, "nobody took over: it starts in place"),
    Change(Resigned, Promoting, "nobody took over: it starts in place"),
    Change(Resigned, Leading, "its server was there all the time"),
    Change(Following, Rejoining, "its WAL has parted from the leader's"),
    Change(
        Following,
        SteppingDown,
        "its server was started as a primary",
    ),
    Change(Following, Stuck, "no try is left that is given at once"),
    Change(SteppingDown, Following, "its server is no primary any more"),
    Change(SteppingDown, Rejoining, "its server is no primary any more"),
    Change(Rejoining, Following, "its data is the leader's"),
    Change(
        Rejoining,
        Stuck,
        "all tries are spent that are given at once",
    ),
    Change(
        Rejoining,
        SteppingDown,
        "its server was started as a primary",
    ),
    Change(
        Stuck,
        Rejoining,
        "its pause is over, or the operator gives new tries",
    ),
    Change(Stuck, Following, "its data is the leader's"),
];

/// Whether the diagram has that change.
pub fn is_drawn(from: StandingKind, to: StandingKind) -> bool {
    let (one, other) = (part_of(from), part_of(to));
    if one == other {
        return CHANGES
            .iter()
            .any(|change| change.0 == from && change.1 == to);
    }
    CROSSINGS
        .iter()
        .any(|crossing| crossing.0 == one && crossing.1 == other)
}

fn part_of(kind: StandingKind) -> Part {
    PARTS
        .iter()
        .find(|(_, _, kinds)| kinds.contains(&kind))
        .map_or(Part::Outside, |(part, _, _)| *part)
}

/// The page that is made of it.
pub fn page() -> String {
    let mut page = String::from(
        "# What a node can become, and by which rules\n\n\
         Made from the code by `cargo xtask docs`. The algorithm, and why it is safe: \
         [protection](protection.md).\n\n\
         A node is always in one of these standings. It changes between the parts when the record \
         or its promise changes, and within a part as its server does.\n\n```mermaid\nstateDiagram-v2\n    [*] --> Outside\n",
    );
    for (part, name, kinds) in PARTS {
        // Writing to a string does not fail.
        let _ = writeln!(page, "    state {name} {{");
        for kind in *kinds {
            let _ = writeln!(page, "        {kind:?}");
        }
        for Change(from, to, when) in CHANGES {
            if part_of(*from) == *part {
                let _ = writeln!(page, "        {from:?} --> {to:?}: {when}");
            }
        }
        page.push_str("    }\n");
    }
    for Crossing(from, to, when) in CROSSINGS {
        let _ = writeln!(page, "    {} --> {}: {when}", name_of(*from), name_of(*to));
    }
    page.push_str(
        "```\n\nHerds under chance (`crates/core/tests/chance.rs`) make no change that is not here.\n\n\
         ## The rules\n\nAfter each input the first rule that applies decides, and again, until none does.\n\n\
         | | rule | why |\n| --- | --- | --- |\n",
    );
    for (place, rule) in RULES.iter().enumerate() {
        let _ = writeln!(page, "| {} | {} | {} |", place + 1, rule.name, rule.why);
    }
    page
}

fn name_of(part: Part) -> &'static str {
    PARTS
        .iter()
        .find(|(other, _, _)| *other == part)
        .map_or("Outside", |(_, name, _)| *name)
}

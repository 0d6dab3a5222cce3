//! What a herd that is to fail is like: how many nodes, and what commits wait for.

/// A herd's shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Three nodes: commits wait for any one of the standbys, as long as it takes.
    #[default]
    Blocking,
    /// Three nodes: commits wait for any one of the standbys, and for nobody when none is there.
    Degrading,
    /// Three nodes: commits wait for nobody. Time alone keeps an old primary from acknowledging, so
    /// that a stall may cost it its place.
    Asynchronous,
    /// Two nodes, and a third host that has a member of etcd alone: commits wait for the other one,
    /// as long as it takes.
    Pair,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 4] = [
        Shape::Blocking,
        Shape::Degrading,
        Shape::Asynchronous,
        Shape::Pair,
    ];

    /// The hosts, each with a member of etcd.
    pub(super) fn hosts(self) -> [&'static str; 3] {
        match self {
            Shape::Blocking | Shape::Degrading | Shape::Asynchronous => ["db1", "db2", "db3"],
            Shape::Pair => ["db1", "db2", "store"],
        }
    }

    /// How many of them, from the first on, have a node.
    pub fn nodes(self) -> usize {
        match self {
            Shape::Blocking | Shape::Degrading | Shape::Asynchronous => 3,
            Shape::Pair => 2,
        }
    }

    /// What `manada sync` is told before there are agents.
    pub(super) fn policy(self) -> &'static [&'static str] {
        match self {
            Shape::Blocking | Shape::Degrading | Shape::Pair => ONE,
            Shape::Asynchronous => &["sync", "off"],
        }
    }

    /// What it is told when they are there.
    pub(super) fn wish(self) -> Option<&'static [&'static str]> {
        match self {
            Shape::Degrading => Some(&["sync", "any", "1", "--when-short", "degrade"]),
            Shape::Blocking | Shape::Asynchronous | Shape::Pair => None,
        }
    }

    /// Whether acknowledged writes may be lost in a failover, as long as the loss is said.
    pub fn may_lose(self) -> bool {
        match self {
            Shape::Degrading | Shape::Asynchronous => true,
            Shape::Blocking | Shape::Pair => false,
        }
    }

    /// How many standbys hold commits up in a whole herd. Any one of them may be the one, so each
    /// does.
    pub(super) fn synchronous(self) -> usize {
        match self {
            Shape::Blocking | Shape::Degrading | Shape::Pair => self.nodes() - 1,
            Shape::Asynchronous => 0,
        }
    }
}

/// Any one standby, which is what a herd is given where nothing else is asked for.
pub(super) const ONE: &[&str] = &["sync", "any", "1"];

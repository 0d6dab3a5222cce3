//! One way for orders: which is under way, and how the last one ended.

use crate::action::Order;
use crate::server::Gate;

/// One lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lane {
    pub(crate) order: Option<Order>,
    /// What failed last.
    pub(crate) failed: Option<Failing>,
}

/// An order that fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Failing {
    pub(crate) order: Order,
    /// How often in a row, for the same kind of reason.
    pub(crate) failures: u32,
    /// Whether what is in the way is around the server, and not its data.
    pub(crate) hindered: bool,
}

/// How an order has ended, for its lane.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    Hindered,
}

impl Lane {
    /// Whether an order may be given now; `retry` says that the pause after a failure is over.
    pub(crate) fn takes(&self, order: &Order, retry: bool) -> bool {
        if self.order.is_some() {
            return false;
        }
        match &self.failed {
            None => true,
            Some(_) if retry => true,
            Some(failing) => {
                let urgent = matches!(
                    order,
                    Order::Stop(_) | Order::StopReceiving | Order::SetGate(Gate::Closed)
                );
                urgent && !failing.is_at(order)
            }
        }
    }

    /// An order has ended. Failures are counted as long as it is the same kind of order and of
    /// reason: what another one failed at is no reason to wait longer, and data is not taken for
    /// broken because of what was around it. Rejoining has pauses of its own.
    pub(crate) fn end(&mut self, order: Order, how: End) {
        let before = self.failed.take();
        if how == End::Succeeded || matches!(order, Order::Rejoin { .. }) {
            return;
        }
        let hindered = how == End::Hindered;
        let again = |failing: &Failing| failing.hindered == hindered && failing.is_at(&order);
        let times = before.filter(again).map_or(0, |failing| failing.failures);
        self.failed = Some(Failing {
            order,
            failures: times.saturating_add(1),
            hindered,
        });
    }

    /// Whether that kind of order has failed last.
    pub(crate) fn fails_at(&self, order: &Order) -> bool {
        self.failed
            .as_ref()
            .is_some_and(|failing| failing.is_at(order))
    }
}

impl Failing {
    fn is_at(&self, order: &Order) -> bool {
        std::mem::discriminant(&self.order) == std::mem::discriminant(order)
    }
}

impl End {
    pub(crate) fn of(succeeded: bool) -> End {
        if succeeded {
            End::Succeeded
        } else {
            End::Failed
        }
    }
}

//! The herd as a picture: SVG, PNG, Mermaid and the terminal.
//!
//! A [`Picture`] is what is to be drawn: a [`forest`] of servers, and the sentences that go with it.
//! Nothing here does IO, and nothing depends on the fonts of the machine.

mod forest;
mod layout;
mod mermaid;
mod picture;
mod png;
mod ruler;
mod svg;
mod terminal;
mod theme;
mod words;

pub use forest::forest;
pub use mermaid::mermaid;
pub use picture::{Arrow, Condition, Follower, Lag, Link, Node, Picture, Role, Slot, SlotState};
pub use png::{PngError, png};
pub use svg::svg;
pub use terminal::{Accent, Charset, Drawing, Span, draw};
pub use theme::Theme;

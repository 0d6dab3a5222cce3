//! What commands say, as text: tables, paragraphs, problems. Nothing here prints.

mod paragraph;
mod problem;
mod table;

pub(crate) use paragraph::paragraph;
pub(crate) use problem::problem;
pub(crate) use table::{Align, Cell, Table};

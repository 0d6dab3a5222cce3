//! Aligned columns without lines, as wide as a terminal allows.

use anstyle::Style;
use manada_model::wording::shown;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::ui::{WIDTH_MAX, accent, paint};

/// The space between two columns.
const GAP: &str = "  ";

/// The narrowest the first column is cut to; it gives way when the others need the room.
const FIRST_WIDTH_MIN: usize = 8;

/// Rows of cells under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

/// To which side a column's cells keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A text in a style.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Plain text; what a terminal would obey in it is made visible.
    pub(crate) fn plain(text: impl AsRef<str>) -> Cell {
        Cell::styled(Style::new(), text)
    }

    pub(crate) fn styled(style: Style, text: impl AsRef<str>) -> Cell {
        Cell {
            text: shown(text.as_ref()).replace('\u{A0}', " "),
            style,
        }
    }

    /// What there is nothing to say about.
    pub(crate) fn none() -> Cell {
        Cell::styled(accent::FAINT, "-")
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

impl Table {
    pub(crate) fn new(headings: impl Into<Vec<(&'static str, Align)>>) -> Table {
        Table {
            headings: headings.into(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. One that has fewer cells than there are columns ends with a text that runs on to
    /// the right.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// The table, a line end behind each line, no spaces before it.
    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let headings = self.headings.iter();
        let headings: Vec<Cell> = headings
            .map(|(text, _)| Cell::styled(accent::FAINT, text))
            .collect();
        let mut text = self.line(&headings, &widths);
        for row in &self.rows {
            text += &self.line(row, &widths);
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.headings.len();
        let mut widths: Vec<usize> = self.headings.iter().map(|(text, _)| text.width()).collect();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                let runs_on = row.len() < columns && index + 1 == row.len();
                if !runs_on {
                    widths[index] = widths[index].max(cell.width());
                }
            }
        }
        let total = widths.iter().sum::<usize>() + GAP.len() * (columns - 1);
        let excess = total.saturating_sub(WIDTH_MAX);
        widths[0] = widths[0].saturating_sub(excess).max(FIRST_WIDTH_MIN);
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (index, cell) in cells.iter().enumerate() {
            let last = index + 1 == cells.len();
            let runs_on = last && cells.len() < widths.len();
            let room = if runs_on {
                WIDTH_MAX.saturating_sub(used)
            } else {
                widths[index]
            };
            let text = cut(&cell.text, room);
            let padding = room.saturating_sub(text.width());
            let painted = paint(cell.style, &text);
            if runs_on {
                line += &painted;
                break;
            }
            let space = " ".repeat(padding);
            match self.headings[index].1 {
                Align::Right => line += &format!("{space}{painted}"),
                Align::Left if last => line += &painted,
                Align::Left => line += &format!("{painted}{space}"),
            }
            if !last {
                line += GAP;
            }
            used += room + GAP.len();
        }
        format!("{}\n", line.trim_end())
    }
}

/// `text`, its end replaced by `…` where it is wider than `room`.
fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = 1;
    for c in text.chars() {
        width += c.width().unwrap_or(0);
        if width > room {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_first_gives_way() {
        let mut table = Table::new([("NAME", Align::Left), ("SIZE", Align::Right)]);
        table.row([Cell::plain("a"), Cell::plain("12 kB")]);
        table.row([Cell::plain("ñandú"), Cell::plain("x".repeat(70))]);
        table.row([Cell::plain("runs on, as it has no more cells")]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert!(plain.lines().all(|line| line.width() <= WIDTH_MAX));
        insta::assert_snapshot!(plain, @r"
        NAME                                                                        SIZE
        a                                                                          12 kB
        ñandú     xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        runs on, as it has no more cells
        ");
    }
}

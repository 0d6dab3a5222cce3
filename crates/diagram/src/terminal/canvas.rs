//! A sheet of character cells; what is put beyond its right edge is not there.

use unicode_width::UnicodeWidthChar;

use super::{Accent, Charset, Span};

pub(super) struct Canvas {
    width: usize,
    charset: Charset,
    rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Copy)]
enum Cell {
    Empty,
    Char(char, Accent),
    /// The right half of the character to the left.
    Continued,
}

impl Canvas {
    pub(super) fn new(width: usize, charset: Charset) -> Self {
        Self {
            width,
            charset,
            rows: Vec::new(),
        }
    }

    /// Writes `text` from column `x` of line `y` on.
    pub(super) fn put(&mut self, x: usize, y: usize, text: &str, accent: Accent) {
        if self.rows.len() <= y {
            self.rows.resize(y + 1, vec![Cell::Empty; self.width]);
        }
        let row = &mut self.rows[y];
        let mut column = x;
        for c in text.chars() {
            let c = match self.charset {
                _ if c == '\u{A0}' => ' ',
                Charset::Unicode => c,
                Charset::Ascii => ascii(c),
            };
            let c_width = c.width().unwrap_or(0);
            if c_width == 0 {
                continue;
            }
            let Some(cells) = row.get_mut(column..column + c_width) else {
                return;
            };
            cells.fill(Cell::Continued);
            cells[0] = Cell::Char(c, accent);
            column += c_width;
        }
    }

    /// Fills the columns from `from` to `to`, both included.
    pub(super) fn fill(&mut self, from: usize, to: usize, y: usize, c: &str, accent: Accent) {
        for x in from..=to {
            self.put(x, y, c, accent);
        }
    }

    /// The lines as spans, nothing empty at their ends.
    pub(super) fn into_lines(self) -> Vec<Vec<Span>> {
        self.rows.into_iter().map(spans).collect()
    }
}

fn spans(row: Vec<Cell>) -> Vec<Span> {
    let end = row
        .iter()
        .rposition(|cell| !matches!(cell, Cell::Empty))
        .map_or(0, |last| last + 1);
    let mut spans: Vec<Span> = Vec::new();
    for cell in &row[..end] {
        let (c, accent) = match *cell {
            Cell::Char(c, accent) => (c, accent),
            Cell::Empty => (' ', Accent::Plain),
            Cell::Continued => continue,
        };
        match spans.last_mut() {
            Some(span) if span.accent == accent => span.text.push(c),
            Some(_) | None => spans.push(Span {
                text: c.to_string(),
                accent,
            }),
        }
    }
    spans
}

/// The nearest ASCII character.
fn ascii(c: char) -> char {
    match c {
        '─' | '╌' => '-',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┬' => '+',
        '▶' => '>',
        '×' => 'x',
        '·' => ',',
        '…' => '~',
        c if c.is_ascii() => c,
        _ => '?',
    }
}

//! A screen of its own for what is drawn again and again.

use std::cell::RefCell;
use std::io::Write;

/// To the terminal's alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Back to where the terminal was.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner: what is drawn there overwrites the former picture without a flicker.
const HOME: &str = "\x1b[H";
/// Clears the rest of a line, and the rest of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The alternate screen, until it is dropped: then the last picture stays on the normal one.
#[derive(Debug)]
pub(crate) struct Screen {
    last: RefCell<String>,
}

impl Screen {
    /// Only where standard output is a terminal.
    pub(super) fn enter() -> Screen {
        write(ENTER);
        Screen {
            last: RefCell::default(),
        }
    }

    /// Replaces the picture. Lines that the terminal has no room for are counted, not shown.
    pub(crate) fn draw(&self, text: &str) {
        let height =
            terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| height.0.into());
        let lines: Vec<&str> = text.lines().collect();
        let mut drawn = HOME.to_owned();
        let shown = if lines.len() > height {
            height.saturating_sub(1)
        } else {
            lines.len()
        };
        for (index, line) in lines[..shown].iter().enumerate() {
            // A line end behind the last line would scroll the first one away.
            let end = if index + 1 < height { "\r\n" } else { "" };
            drawn += &format!("{line}{CLEAR_LINE}{end}");
        }
        if shown < lines.len() {
            let more = lines.len() - shown;
            drawn += &format!("… {more} more lines: a taller window shows them{CLEAR_LINE}");
        }
        drawn += CLEAR_BELOW;
        write(&drawn);
        *self.last.borrow_mut() = text.to_owned();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
        write(&self.last.borrow());
    }
}

/// A terminal that has gone away is no error.
fn write(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

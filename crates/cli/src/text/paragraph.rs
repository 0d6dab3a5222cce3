//! Sentences, broken into lines that fit.

use unicode_width::UnicodeWidthStr;

use crate::ui::WIDTH_MAX;

/// `text` in lines of at most [`WIDTH_MAX`] columns, the first behind `label` and the others below
/// its text. Spaces that must not break are U+00A0 and come out as plain ones.
pub(crate) fn paragraph(label: &str, text: &str) -> String {
    let label_width = plain_width(label);
    let indent = " ".repeat(label_width);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut width = label_width;
    for word in text.split(' ') {
        let word_width = plain_width(word);
        let is_first = line.is_empty();
        if !is_first && width + 1 + word_width > WIDTH_MAX {
            lines.push(std::mem::take(&mut line));
            width = label_width;
        }
        if !line.is_empty() {
            line.push(' ');
            width += 1;
        }
        line.push_str(word);
        width += word_width;
    }
    lines.push(line);
    format!("{label}{}\n", lines.join(&format!("\n{indent}"))).replace('\u{A0}', " ")
}

/// The columns `text` takes, not counting the codes of its colours.
pub(super) fn plain_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_stay_below_their_label() {
        let words = "sixteen\u{A0}bytes ".repeat(8);
        insta::assert_snapshot!(paragraph("note: ", words.trim_end()), @r"
        note: sixteen bytes sixteen bytes sixteen bytes sixteen bytes sixteen bytes
              sixteen bytes sixteen bytes sixteen bytes
        ");
    }
}

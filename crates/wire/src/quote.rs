//! Quoting for the grammar of replication commands (repl_scanner.l).
//!
//! It has no escape but the doubled quote: a backslash is a character like any other.

use std::fmt;

/// Writes an identifier in double quotes.
#[derive(Debug, Clone, Copy)]
pub struct Identifier<'a>(pub &'a str);

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.0, '"')
    }
}

/// Writes a string in single quotes.
#[derive(Debug, Clone, Copy)]
pub struct Literal<'a>(pub &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.0, '\'')
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    use fmt::Write;
    f.write_char(quote)?;
    for character in text.chars() {
        if character == quote {
            f.write_char(quote)?;
        }
        f.write_char(character)?;
    }
    f.write_char(quote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What repl_scanner.l makes of a quoted token; `None` where the token ends early.
    fn scan(token: &str, quote: char) -> Option<String> {
        let inside = token.strip_prefix(quote)?.strip_suffix(quote)?;
        let mut text = String::new();
        let mut characters = inside.chars();
        while let Some(character) = characters.next() {
            if character == quote && characters.next() != Some(quote) {
                return None;
            }
            text.push(character);
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn any_text_is_one_token_and_comes_back(text in "[a-z'\"\\\\; ñ\n]{0,20}") {
            prop_assert_eq!(scan(&Identifier(&text).to_string(), '"'), Some(text.clone()));
            prop_assert_eq!(scan(&Literal(&text).to_string(), '\''), Some(text));
        }
    }
}

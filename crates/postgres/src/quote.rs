//! Quoting for every grammar that a herd writes: SQL, `postgresql.conf`, `pg_hba.conf`, the shell.

/// A text that the grammar has no way to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unquotable {
    /// PostgreSQL's texts end at a NUL.
    #[error("it contains a NUL character")]
    Nul,
    /// Longer than PostgreSQL keeps (`NAMEDATALEN - 1`): it would be cut silently.
    #[error("it is longer than {IDENTIFIER_BYTES_MAX} bytes")]
    TooLong,
    /// An identifier has at least one character.
    #[error("it is empty")]
    Empty,
    /// A record of `pg_hba.conf` is one line, and a token can't hold its end.
    #[error("it contains a line break")]
    LineBreak,
    /// From PostgreSQL 16 on, a role or database that begins with a slash is a regular expression.
    #[error("it begins with a slash, which makes it a regular expression in pg_hba.conf")]
    LeadingSlash,
}

/// The longest identifier PostgreSQL keeps whole, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 63;

/// An SQL identifier in double quotes.
pub fn identifier(name: &str) -> Result<String, Unquotable> {
    refuse_nul(name)?;
    if name.is_empty() {
        return Err(Unquotable::Empty);
    }
    if name.len() > IDENTIFIER_BYTES_MAX {
        return Err(Unquotable::TooLong);
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// An SQL string literal, right whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> Result<String, Unquotable> {
    refuse_nul(text)?;
    let doubled = text.replace('\'', "''");
    Ok(if doubled.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', r"\\"))
    } else {
        format!("'{doubled}'")
    })
}

/// A value of `postgresql.conf` in single quotes, on one line.
///
/// Source: `src/backend/utils/misc/guc-file.l`, `DeescapeQuotedString`.
pub fn setting_value(text: &str) -> Result<String, Unquotable> {
    refuse_nul(text)?;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for character in text.chars() {
        match character {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str(r"\\"),
            '\n' => quoted.push_str(r"\n"),
            '\r' => quoted.push_str(r"\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

/// What [`setting_value`] wrote, read back; `None` where it is not one quoted value.
pub fn read_setting_value(quoted: &str) -> Option<String> {
    let body = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut text = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(character) = chars.next() {
        text.push(match character {
            '\'' => match chars.next()? {
                '\'' => '\'',
                _ => return None,
            },
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            },
            other => other,
        });
    }
    Some(text)
}

/// A token of `pg_hba.conf` or `pg_ident.conf` in double quotes, which also takes a keyword's
/// meaning away: `"all"` is a role of that name.
///
/// Source: `src/backend/libpq/hba.c`, `next_token` and `regcomp_auth_token`.
pub fn access_token(text: &str) -> Result<String, Unquotable> {
    refuse_nul(text)?;
    if text.contains(['\n', '\r']) {
        return Err(Unquotable::LineBreak);
    }
    if text.is_empty() {
        return Err(Unquotable::Empty);
    }
    if text.starts_with('/') {
        return Err(Unquotable::LeadingSlash);
    }
    Ok(format!("\"{}\"", text.replace('"', "\"\"")))
}

/// One word of a shell command.
pub fn shell_word(text: &str) -> Result<String, Unquotable> {
    refuse_nul(text)?;
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@".contains(&byte);
    if !text.is_empty() && text.bytes().all(harmless) {
        return Ok(text.to_owned());
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// One word of `archive_command` or `restore_command`: a shell's word in which PostgreSQL finds
/// none of its placeholders.
pub fn archive_command_word(text: &str) -> Result<String, Unquotable> {
    Ok(shell_word(text)?.replace('%', "%%"))
}

fn refuse_nul(text: &str) -> Result<(), Unquotable> {
    if text.contains('\0') {
        Err(Unquotable::Nul)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_can_not_be_written_is_refused() {
        assert_eq!(identifier(""), Err(Unquotable::Empty));
        assert_eq!(identifier(&"ñ".repeat(32)), Err(Unquotable::TooLong));
        assert_eq!(literal("a\0"), Err(Unquotable::Nul));
        assert_eq!(
            access_token("a\nhost all all all trust"),
            Err(Unquotable::LineBreak)
        );
        assert_eq!(access_token("/.*"), Err(Unquotable::LeadingSlash));
    }

    #[test]
    fn quotes_are_doubled_and_line_ends_escaped() {
        assert_eq!(identifier("a\"b").as_deref(), Ok("\"a\"\"b\""));
        assert_eq!(literal(r"it's \").as_deref(), Ok(r" E'it''s \\'"));
        assert_eq!(setting_value("a'b\\\nc").as_deref(), Ok(r"'a''b\\\nc'"));
        assert_eq!(access_token("all").as_deref(), Ok("\"all\""));
        assert_eq!(archive_command_word("/a b/%p").as_deref(), Ok("'/a b/%%p'"));
    }

    proptest! {
        #[test]
        fn a_setting_value_reads_back(text in "[^\0]{0,80}") {
            let quoted = setting_value(&text).expect("no NUL in it");
            prop_assert!(!quoted.contains('\n'));
            prop_assert_eq!(read_setting_value(&quoted), Some(text));
        }

        #[test]
        fn the_shell_reads_a_word_back(text in "[^\0]{0,40}") {
            let word = shell_word(&text).expect("no NUL in it");
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &format!("printf %s {word}")])
                .output()
                .expect("a shell");
            prop_assert_eq!(output.stdout, text.into_bytes());
        }
    }
}

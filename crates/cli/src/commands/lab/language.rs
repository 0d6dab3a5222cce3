//! The language of the lab: asked for, else the locale's.

/// A language the lab speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// Spanish.
    Es,
    /// English.
    En,
}

/// The variables that set the language of messages, the first that is set and not empty deciding
/// (POSIX, "Internationalization Variables").
const VARIABLES: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

impl Language {
    /// The language of this process's locale; English where it is neither.
    pub(crate) fn of_locale() -> Language {
        Language::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(value: impl Fn(&str) -> Option<String>) -> Language {
        let locale = VARIABLES
            .into_iter()
            .find_map(|name| value(name).filter(|value| !value.is_empty()))
            .unwrap_or_default();
        let language = locale.split(['_', '.', '@', '-']).next();
        if language.is_some_and(|language| language.eq_ignore_ascii_case("es")) {
            Language::Es
        } else {
            Language::En
        }
    }

    /// The language's code, as `--lang` takes it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Language::Es => "es",
            Language::En => "en",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let with = |set: &[(&str, &str)]| {
            Language::from_variables(|name| {
                set.iter()
                    .find(|(variable, _)| *variable == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[("LANG", "es_MX.UTF-8")]), Language::Es);
        assert_eq!(with(&[("LANG", "es")]), Language::Es);
        assert_eq!(with(&[("LANG", "est_EE")]), Language::En);
        assert_eq!(
            with(&[("LC_ALL", ""), ("LANG", "es_ES@euro")]),
            Language::Es
        );
        assert_eq!(
            with(&[("LC_MESSAGES", "C"), ("LANG", "es_ES")]),
            Language::En
        );
        assert_eq!(with(&[]), Language::En);
    }
}

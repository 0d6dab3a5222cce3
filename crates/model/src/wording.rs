//! How quantities and texts of others are put before people, the same everywhere.

use std::time::Duration;

/// A number of bytes, with PostgreSQL's own units (`pg_size_pretty` calls 1024 bytes a kB).
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1024 {
        return with_unit(bytes as f64, "B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    with_unit(value, UNITS[unit])
}

/// A duration, in the unit that leaves two or three digits.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.9995 {
        with_unit(seconds * 1e3, "ms")
    } else if seconds < 120.0 {
        with_unit(seconds, "s")
    } else if seconds < 2.0 * 3600.0 {
        with_unit(seconds / 60.0, "min")
    } else if seconds < 48.0 * 3600.0 {
        with_unit(seconds / 3600.0, "h")
    } else {
        with_unit(seconds / 86_400.0, "days")
    }
}

/// Two digits or more, and a space that no line is broken at.
fn with_unit(value: f64, unit: &str) -> String {
    let tenths = format!("{value:.1}");
    match tenths.strip_suffix(".0") {
        _ if value >= 9.95 => format!("{value:.0}\u{A0}{unit}"),
        Some(whole) => format!("{whole}\u{A0}{unit}"),
        None => format!("{tenths}\u{A0}{unit}"),
    }
}

/// `text` on one line, without what a terminal or a browser would obey rather than show.
pub fn shown(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
                | '\u{FFFE}' | '\u{FFFF}' | '\u{E0000}'..='\u{E007F}')
    };
    text.chars()
        .map(|c| if obeyed(c) { '\u{FFFD}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 kB"),
            (4096, "4 kB"),
            (16 << 20, "16 MB"),
            (u64::MAX, "16 EB"),
        ] {
            assert_eq!(size(bytes).replace('\u{A0}', " "), text);
        }
        for (time, text) in [
            (Duration::ZERO, "0 ms"),
            (Duration::from_micros(420), "0.4 ms"),
            (Duration::from_millis(42), "42 ms"),
            (Duration::from_micros(999_900), "1 s"),
            (Duration::from_millis(1_280), "1.3 s"),
            (Duration::from_secs(3_600), "60 min"),
            (Duration::from_secs(86_400 * 3), "3 days"),
        ] {
            assert_eq!(duration(time).replace('\u{A0}', " "), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(shown("a\u{1B}[2Jb\u{202E}ñ"), "a\u{FFFD}[2Jb\u{FFFD}ñ");
    }
}

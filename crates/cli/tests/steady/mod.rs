//! What commands print, without what differs from run to run.

use serde_json::Value;

/// Text with what differs from run to run taken out, and each gap one space.
pub(crate) fn steady(text: &str) -> String {
    let mut filtered = String::new();
    for line in text.lines() {
        let words = line.split_whitespace().map(|word| {
            let bare = word.trim_end_matches([',', '.', ':', ')', ';']);
            let tail = &word[bare.len()..];
            let is_number = bare.chars().all(|c| c.is_ascii_digit() || c == '.');
            let kind = if let Some((host, port)) = bare.split_once(':')
                && port.parse::<u16>().is_ok()
            {
                format!("{host}:PORT")
            } else if bare.len() > 15 && is_number {
                "IDENTIFIER".to_owned()
            } else if bare.split_once('/').is_some_and(|(high, low)| {
                [high, low]
                    .iter()
                    .all(|half| u32::from_str_radix(half, 16).is_ok())
            }) {
                "LSN".to_owned()
            } else if is_number && bare.contains('.') && bare.len() >= 4 {
                "VERSION".to_owned()
            } else {
                bare.to_owned()
            };
            kind + tail
        });
        filtered += words.collect::<Vec<_>>().join(" ").as_str();
        filtered += "\n";
    }
    let mut steadied = String::new();
    let mut words = filtered.split_inclusive(['\n', ' ']).peekable();
    while let Some(word) = words.next() {
        let unit = words
            .peek()
            .map(|next| next.trim_end_matches([' ', '\n', '.', ',', ':', ')']));
        let is_quantity = word.trim_start_matches('(').trim().parse::<f64>().is_ok();
        if is_quantity && matches!(unit, Some("ms" | "s" | "min")) {
            let ending = words.next().unwrap_or_default();
            let bracket = if word.starts_with('(') { "(" } else { "" };
            let after = ending.trim_start_matches(char::is_alphabetic);
            steadied += &format!("{bracket}TIME{after}");
        } else {
            steadied += word;
        }
    }
    // How long the last of it took is told only for a while.
    steadied.replace("0 B TIME", "0 B")
}

/// The kinds of a JSON document's values: what a program that reads it relies on.
pub(crate) fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), shape(value)))
                .collect()
        }
    }
}

//! The picture as a Mermaid flowchart, for wikis and READMEs that draw those.

use std::fmt::Write as _;

use manada_model::SyncState;

use crate::picture::{Condition, Link, Node, Picture, Role};
use crate::words;

/// Draws the picture as the text of a Mermaid flowchart.
pub fn mermaid(picture: &Picture) -> String {
    let mut chart = Chart::default();
    chart.line("---");
    chart.line(&format!("title: \"{}\"", quoted_yaml(&picture.title)));
    chart.line("---");
    chart.line("flowchart LR");
    for root in &picture.roots {
        chart.node(root);
    }
    let sentences: Vec<String> = [&picture.taken_at, &picture.policy, &picture.risk]
        .into_iter()
        .flatten()
        .map(|sentence| quoted(sentence))
        .collect();
    if !sentences.is_empty() {
        chart.line(&format!("  words[\"{}\"]", sentences.join("<br/>")));
        chart.line("  style words fill:none,stroke:none,text-align:left");
    }
    chart.line("  classDef primary stroke-width:3px");
    chart.line("  classDef ailing stroke:#b7791f");
    chart.line("  classDef unreachable stroke:#c02430,stroke-dasharray:6 4");
    chart.text
}

#[derive(Default)]
struct Chart {
    text: String,
    nodes: usize,
}

impl Chart {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes a server and all that hangs on it, and says under which id.
    fn node(&mut self, node: &Node) -> usize {
        let id = self.nodes;
        self.nodes += 1;
        let mut lines = vec![
            format!("<b>{}</b>", quoted(&node.name)),
            words::role(node.role).to_owned(),
        ];
        lines.extend(node.address.as_deref().map(quoted));
        lines.extend(words::build(node).as_deref().map(quoted));
        lines.extend(words::condition(&node.condition).as_deref().map(quoted));
        self.line(&format!("  n{id}[(\"{}\")]", lines.join("<br/>")));
        for class in classes(node) {
            self.line(&format!("  class n{id} {class}"));
        }
        for follower in &node.standbys {
            let standby = self.node(&follower.node);
            let link = &follower.arrow.link;
            let mut label = words::badge(link).to_owned();
            if let Some(progress) = words::progress(link) {
                write!(label, "<br/>{}", quoted(&progress))
                    .expect("writing to a String does not fail");
            }
            if let Some(slot) = words::slot(&follower.arrow) {
                write!(label, "<br/>{}", quoted(&slot)).expect("writing to a String does not fail");
            }
            self.line(&format!(
                "  n{id} {}|\"{label}\"| n{standby}",
                line_style(link)
            ));
        }
        id
    }
}

/// Thick where commits wait, thin where they don't, dotted where nothing flows.
fn line_style(link: &Link) -> &'static str {
    match link.sync_state() {
        Some(SyncState::Sync | SyncState::Quorum) => "==>",
        Some(SyncState::Potential | SyncState::Async) => "-->",
        None => "-.->",
    }
}

fn classes(node: &Node) -> Vec<&'static str> {
    let role = match node.role {
        Role::Primary => Some("primary"),
        Role::Standby | Role::Unknown => None,
    };
    let condition = match node.condition {
        Condition::Answering => None,
        Condition::Ailing(_) => Some("ailing"),
        Condition::Unreachable(_) => Some("unreachable"),
    };
    role.into_iter().chain(condition).collect()
}

/// Text within a quoted label: everything that Mermaid, Markdown or HTML might take for more than
/// text is an entity, written as Mermaid wants it (`#35;`).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in words::shown(text).chars() {
        if c == '\u{A0}' {
            quoted.push(' ');
        } else if c.is_alphanumeric() || matches!(c, ' ' | '.' | ':' | ',' | '-' | '·' | '/' | '…')
        {
            quoted.push(c);
        } else {
            write!(quoted, "#{};", u32::from(c)).expect("writing to a String does not fail");
        }
    }
    quoted
}

/// Text within a double-quoted YAML string.
fn quoted_yaml(text: &str) -> String {
    words::shown(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}

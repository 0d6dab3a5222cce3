//! The picture as SVG: one file, no script, no font, nothing fetched.

use std::fmt::Write as _;

use manada_model::SyncState;

use crate::layout::{
    ARROWHEAD, CAPTION_SIZE, Card, Layout, Line, PILL_HEIGHT, Pill, Wire, lay_out,
};
use crate::picture::{Condition, Link, Picture, Role, SlotState};
use crate::theme::Theme;
use crate::words;

/// Draws the picture as an SVG document.
///
/// It brings its own ground, so it is readable on any page; its title and description say in
/// words what it shows.
pub fn svg(picture: &Picture, theme: Theme) -> String {
    let layout = lay_out(picture);
    let mut svg = Svg::default();
    let Layout { width, height, .. } = &layout;
    svg.line(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" aria-labelledby="title description">"#,
        px(width.ceil()),
        px(height.ceil())
    ));
    svg.line(format_args!(
        r#"<title id="title">{}</title>"#,
        Escaped(&picture.title)
    ));
    svg.line(format_args!(
        r#"<desc id="description">{}</desc>"#,
        Escaped(&words::description(picture))
    ));
    svg.line(format_args!("<style>\n{}</style>", theme.style_sheet()));
    svg.line(format_args!(
        r#"<rect class="ground" width="100%" height="100%" rx="12"/>"#
    ));
    svg.text("title", &layout.title);
    if let Some(line) = &layout.taken_at {
        svg.text("text muted", line);
    }
    for wire in &layout.wires {
        svg.wire(wire);
    }
    for card in &layout.cards {
        svg.card(card);
    }
    if let Some(y) = layout.rule {
        svg.line(format_args!(
            r#"<path class="rule" d="M{} {y}H{}"/>"#,
            px(layout.title.x),
            px(width - layout.title.x),
            y = px(y)
        ));
    }
    for line in &layout.caption {
        svg.text("caption", line);
    }
    svg.line(format_args!("</svg>"));
    svg.document
}

const _: () = assert!(CAPTION_SIZE == 13.0, "the style sheet names the same size");

#[derive(Default)]
struct Svg {
    document: String,
}

impl Svg {
    fn line(&mut self, line: std::fmt::Arguments) {
        writeln!(self.document, "{line}").expect("writing to a String does not fail");
    }

    fn text(&mut self, class: &str, line: &Line) {
        self.line(format_args!(
            r#"<text class="{class}" x="{}" y="{}">{}</text>"#,
            px(line.x),
            px(line.y),
            Escaped(&line.text)
        ));
    }

    fn pill(&mut self, class: &str, pill: &Pill) {
        self.line(format_args!(
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>"#,
            px(pill.x),
            px(pill.y),
            px(pill.width),
            px(PILL_HEIGHT),
            px(PILL_HEIGHT / 2.0)
        ));
        self.line(format_args!(
            r#"<text class="word" x="{}" y="{}">{}</text>"#,
            px(pill.x + pill.width / 2.0),
            px(pill.y + 13.5),
            pill.text
        ));
    }

    fn card(&mut self, card: &Card) {
        let role = match card.node.role {
            Role::Primary => "primary",
            Role::Standby => "standby",
            Role::Unknown => "unknown",
        };
        let condition = match card.node.condition {
            Condition::Answering => "",
            Condition::Ailing(_) => " ailing",
            Condition::Unreachable(_) => " unreachable",
        };
        self.line(format_args!(r#"<g class="{role}{condition}">"#));
        self.line(format_args!(
            "<title>{}</title>",
            Escaped(&words::shown(&card.node.name))
        ));
        self.line(format_args!(
            r#"<rect class="card" x="{}" y="{}" width="{}" height="{}" rx="10"/>"#,
            px(card.x),
            px(card.y),
            px(card.width),
            px(card.height)
        ));
        self.cylinder(card.x + 17.0, card.y + card.height / 2.0 - 14.0);
        self.text("name", &card.name);
        self.pill("pill", &card.role);
        for line in &card.lines {
            self.text("text muted", line);
        }
        for line in &card.notes {
            self.text("text note", line);
        }
        self.line(format_args!("</g>"));
    }

    /// The old sign of a database, 22 wide and 28 high.
    fn cylinder(&mut self, x: f32, y: f32) {
        let (x, y) = (px(x), px(y + 4.0));
        self.line(format_args!(
            r#"<path class="cylinder" d="M{x} {y}v20a11 4 0 0 0 22 0v-20a11 4 0 0 0 -22 0z"/>"#
        ));
        self.line(format_args!(
            r#"<path class="cylinder rim" d="M{x} {y}a11 4 0 0 0 22 0m-22 10a11 4 0 0 0 22 0"/>"#
        ));
    }

    fn wire(&mut self, wire: &Wire) {
        let class = match wire.arrow.link {
            Link::Streaming(state, _) | Link::CatchingUp(state, _) => match state {
                SyncState::Sync => "sync",
                SyncState::Quorum => "quorum",
                SyncState::Potential => "potential",
                SyncState::Async => "async",
            },
            Link::Broken => "broken",
            Link::Unknown => "unknown",
        };
        let ((from_x, from_y), (to_x, to_y)) = (wire.from, wire.to);
        let middle_x = (from_x + wire.bend_to) / 2.0;
        let tip_x = to_x - 2.0;
        let head_x = tip_x - ARROWHEAD;
        self.line(format_args!(r#"<g class="{class}">"#));
        self.line(format_args!(
            r#"<path class="wire" d="M{} {}C{middle} {} {middle} {} {} {}H{}"/>"#,
            px(from_x),
            px(from_y),
            px(from_y),
            px(to_y),
            px(wire.bend_to),
            px(to_y),
            px(head_x),
            middle = px(middle_x),
        ));
        match wire.arrow.link {
            Link::Streaming(..) | Link::CatchingUp(..) | Link::Unknown => self.line(format_args!(
                r#"<path class="head" d="M{} {}l-{ARROWHEAD} -5.5v11z"/>"#,
                px(tip_x),
                px(to_y)
            )),
            Link::Broken => self.line(format_args!(
                r#"<path class="cross" d="M{} {}l8 8m0 -8l-8 8"/>"#,
                px(head_x + 1.0),
                px(to_y - 4.0)
            )),
        }
        self.pill("badge", &wire.badge);
        if let Some(line) = &wire.progress {
            self.text("text", line);
        }
        if let Some(line) = &wire.slot {
            let class = match wire.arrow.slot.as_ref().map(|slot| slot.state) {
                Some(SlotState::Lost | SlotState::Unreserved) => "text alarm",
                Some(SlotState::Active | SlotState::Inactive) | None => "text muted",
            };
            self.text(class, line);
        }
        self.line(format_args!("</g>"));
    }
}

/// A length to a tenth of a unit, without a trailing `.0`.
fn px(length: f32) -> String {
    let rounded = (length * 10.0).round() / 10.0;
    // An f32 prints the shortest text that reads back as the same number.
    format!("{rounded}")
}

/// Text as character data or an attribute's value.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in words::shown(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

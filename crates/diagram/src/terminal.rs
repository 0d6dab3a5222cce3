//! The picture in box characters, for a terminal.

mod canvas;
mod text;

use manada_model::SyncState;

use crate::picture::{Condition, Follower, Link, Node, Picture, Role, SlotState};
use crate::words;
use canvas::Canvas;
use text::{columns, elide, wrap};

/// The narrowest drawing that is attempted.
const WIDTH_MIN: usize = 32;
/// A box is at least as wide as a short name beside its role, and at most as wide as reads well.
const BOX_WIDTH_MIN: usize = 24;
const BOX_WIDTH_MAX: usize = 44;
/// The room for words on an arrow; with less than the minimum they go into the box instead.
const LABEL_WIDTH_MIN: usize = 12;
const LABEL_WIDTH_MAX: usize = 26;
/// What an arrow takes beside its label: the stem's place, `├─` before and `─▶` after.
const ARROW_WIDTH: usize = 7;
/// How far a box stands from its upstream's where the words are inside the box.
const INDENT: usize = 6;

/// Which characters the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Box-drawing characters.
    Unicode,
    /// Nothing beyond ASCII.
    Ascii,
}

/// What a stretch of text means, for whoever chooses the colours. Each is said in words as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accent {
    /// Ordinary text.
    #[default]
    Plain,
    /// Text of less weight.
    Muted,
    /// A name.
    Strong,
    /// Of the primary.
    Primary,
    /// Commits wait for this.
    Sync,
    /// Commits wait for some like this.
    Quorum,
    /// Would take the place of a synchronous one.
    Potential,
    /// Calls for attention.
    Warning,
    /// Is broken.
    Alarm,
}

/// A drawing: lines of spans, no line wider than asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// From the top down.
    pub lines: Vec<Vec<Span>>,
}

/// A stretch of text of one accent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The text; no control characters in it.
    pub text: String,
    /// What it means.
    pub accent: Accent,
}

impl Drawing {
    /// The drawing without colours.
    pub fn to_plain(&self) -> String {
        let mut plain = String::new();
        for line in &self.lines {
            plain.extend(line.iter().map(|span| span.text.as_str()));
            plain.push('\n');
        }
        plain
    }
}

/// Draws the picture at most `width` columns wide, but not narrower than 32.
pub fn draw(picture: &Picture, width: usize, charset: Charset) -> Drawing {
    let width = width.max(WIDTH_MIN);
    let mut pen = Pen {
        canvas: Canvas::new(width, charset),
        plan: Plan::of(picture, width),
    };
    let mut y = 0;
    pen.canvas.put(
        0,
        y,
        &elide(&words::shown(&picture.title), width),
        Accent::Strong,
    );
    y += 1;
    if let Some(taken_at) = &picture.taken_at {
        pen.canvas
            .put(0, y, &elide(&words::shown(taken_at), width), Accent::Muted);
        y += 1;
    }
    for root in &picture.roots {
        y = pen.tree(root, &[], 0, y + 1);
    }
    for sentence in [&picture.policy, &picture.risk].into_iter().flatten() {
        y += 1;
        for line in wrap(&words::shown(sentence), width) {
            pen.canvas.put(0, y, &line, Accent::Plain);
            y += 1;
        }
    }
    Drawing {
        lines: pen.canvas.into_lines(),
    }
}

/// Where the words of an arrow stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Labels {
    /// Beside the box, on the arrow.
    OnArrow { width: usize },
    /// In the box, where the herd is too deep for the terminal.
    InBox,
}

/// The widths that the whole drawing shares.
struct Plan {
    labels: Labels,
    step: usize,
    box_width: usize,
    width: usize,
}

impl Plan {
    fn of(picture: &Picture, width: usize) -> Plan {
        let nodes = picture.walk();
        let depth_max = nodes.iter().map(|(depth, _)| *depth).max().unwrap_or(0);
        let wanted = nodes
            .iter()
            .map(|(_, node)| box_width(node))
            .max()
            .unwrap_or(0);
        let box_width = wanted.clamp(BOX_WIDTH_MIN, BOX_WIDTH_MAX.min(width));
        let label_width = nodes
            .iter()
            .flat_map(|(_, node)| &node.standbys)
            .flat_map(labels)
            .map(|(label, _)| columns(&label))
            .max()
            .unwrap_or(0)
            .min(LABEL_WIDTH_MAX);
        let room = (width - box_width) / depth_max.max(1);
        if room >= LABEL_WIDTH_MIN + ARROW_WIDTH {
            let label_width = label_width.clamp(LABEL_WIDTH_MIN, room - ARROW_WIDTH);
            return Plan {
                labels: Labels::OnArrow { width: label_width },
                step: label_width + ARROW_WIDTH,
                box_width,
                width,
            };
        }
        Plan {
            labels: Labels::InBox,
            step: INDENT,
            box_width: BOX_WIDTH_MAX.min(width),
            width,
        }
    }

    /// The left edge of the boxes at a depth, and their width.
    fn column(&self, depth: usize) -> (usize, usize) {
        let x = (depth * self.step).min(self.width - BOX_WIDTH_MIN);
        (x, self.box_width.min(self.width - x))
    }
}

/// The width of a box that shows all of a server but its condition, which wraps.
fn box_width(node: &Node) -> usize {
    let heading = columns(&words::shown(&node.name)) + columns(words::role(node.role)) + 9;
    let address = node
        .address
        .as_deref()
        .map_or(0, |text| columns(&words::shown(text)) + 4);
    let build = words::build(node).map_or(0, |text| columns(&words::shown(&text)) + 4);
    heading.max(address).max(build)
}

/// What is said of an arrow, the badge first.
fn labels(follower: &Follower) -> Vec<(String, Accent)> {
    let arrow = &follower.arrow;
    let mut labels = vec![(
        words::badge(&arrow.link).to_owned(),
        link_accent(&arrow.link),
    )];
    labels.extend(words::progress(&arrow.link).map(|text| (text, Accent::Plain)));
    let slot_accent = match arrow.slot.as_ref().map(|slot| slot.state) {
        Some(SlotState::Lost | SlotState::Unreserved) => Accent::Alarm,
        Some(SlotState::Active | SlotState::Inactive) | None => Accent::Muted,
    };
    labels.extend(words::slot(arrow).map(|text| (text, slot_accent)));
    labels
}

fn link_accent(link: &Link) -> Accent {
    match link.sync_state() {
        Some(SyncState::Sync) => Accent::Sync,
        Some(SyncState::Quorum) => Accent::Quorum,
        Some(SyncState::Potential) => Accent::Potential,
        Some(SyncState::Async) => Accent::Plain,
        None => match link {
            Link::Unknown => Accent::Muted,
            Link::Broken | Link::Streaming(..) | Link::CatchingUp(..) => Accent::Alarm,
        },
    }
}

struct Pen {
    canvas: Canvas,
    plan: Plan,
}

impl Pen {
    /// Draws a server and all that hangs on it from line `top` on; returns the line below.
    fn tree(&mut self, node: &Node, said: &[(String, Accent)], depth: usize, top: usize) -> usize {
        let (x, width) = self.plan.column(depth);
        let below_box = self.server(node, said, x, top, width);
        let stem_x = x + 2;
        let mut stem_y = below_box;
        let mut y = below_box;
        if !node.standbys.is_empty() {
            self.canvas
                .put(stem_x, below_box - 1, "┬", box_accent(node));
        }
        for (index, follower) in node.standbys.iter().enumerate() {
            let said = labels(follower);
            let (below_label, inside) = match self.plan.labels {
                Labels::OnArrow { width } => (self.label(&said, stem_x + 2, y, width), &[][..]),
                Labels::InBox => (y, said.as_slice()),
            };
            let below_standby = self.tree(&follower.node, inside, depth + 1, y);
            let arrow_y = y + 1;
            for y in stem_y..arrow_y {
                self.canvas.put(stem_x, y, "│", Accent::Muted);
            }
            let last = index + 1 == node.standbys.len();
            self.canvas
                .put(stem_x, arrow_y, if last { "└" } else { "├" }, Accent::Muted);
            self.arrow(&follower.arrow.link, stem_x + 1, arrow_y, depth + 1);
            stem_y = arrow_y + 1;
            y = below_standby.max(below_label);
        }
        y
    }

    /// Draws from `x` to the boxes of `depth`.
    fn arrow(&mut self, link: &Link, x: usize, y: usize, depth: usize) {
        let accent = link_accent(link);
        let (to, _) = self.plan.column(depth);
        let Some(head_x) = to.checked_sub(1).filter(|head_x| *head_x >= x) else {
            return;
        };
        let (dash, head) = match link {
            Link::Streaming(..) | Link::CatchingUp(..) => ("─", "▶"),
            Link::Broken => ("╌", "×"),
            Link::Unknown => ("╌", "?"),
        };
        for dash_x in x..head_x {
            self.canvas.put(dash_x, y, dash, accent);
        }
        self.canvas.put(head_x, y, head, accent);
    }

    /// Writes the words of an arrow: the badge above it, the others below. Returns the line below.
    fn label(&mut self, said: &[(String, Accent)], x: usize, top: usize, width: usize) -> usize {
        let mut y = top;
        for (index, (text, accent)) in said.iter().enumerate() {
            for line in wrap(text, width) {
                self.canvas.put(x, y, &line, *accent);
                y += 1;
            }
            if index == 0 {
                y = y.max(top + 2);
            }
        }
        y
    }

    /// Draws a server's box from line `top` on; returns the line below.
    fn server(
        &mut self,
        node: &Node,
        said: &[(String, Accent)],
        x: usize,
        top: usize,
        width: usize,
    ) -> usize {
        let frame = box_accent(node);
        let text_width = width - 4;
        let mut rows: Vec<(String, Accent)> = Vec::new();
        rows.extend(
            node.address
                .as_deref()
                .map(|text| (words::shown(text), Accent::Plain)),
        );
        rows.extend(words::build(node).map(|text| (words::shown(&text), Accent::Muted)));
        let mut rows: Vec<(String, Accent)> = rows
            .into_iter()
            .map(|(text, accent)| (elide(&text, text_width), accent))
            .collect();
        let attention = match node.condition {
            Condition::Unreachable(_) => Accent::Alarm,
            Condition::Ailing(_) | Condition::Answering => Accent::Warning,
        };
        let wrapped = words::condition(&node.condition)
            .map(|text| (words::shown(&text), attention))
            .into_iter()
            .chain(said.iter().cloned())
            .flat_map(|(text, accent)| {
                wrap(&text, text_width)
                    .into_iter()
                    .map(move |line| (line, accent))
            });
        rows.extend(wrapped);
        if rows.is_empty() {
            rows.push((String::new(), Accent::Plain));
        }

        let role = words::role(node.role);
        let name = elide(&words::shown(&node.name), width - columns(role) - 8);
        let right = x + width - 1;
        self.canvas.fill(x, right, top, "─", frame);
        self.canvas.put(x, top, "┌", frame);
        self.canvas.put(right, top, "┐", frame);
        self.canvas
            .put(x + 2, top, &format!(" {name} "), Accent::Strong);
        self.canvas
            .put(right - columns(role) - 3, top, &format!(" {role} "), frame);
        let mut y = top + 1;
        for (text, accent) in rows {
            self.canvas.put(x, y, "│", frame);
            self.canvas.put(x + 2, y, &text, accent);
            self.canvas.put(right, y, "│", frame);
            y += 1;
        }
        self.canvas.fill(x, right, y, "─", frame);
        self.canvas.put(x, y, "└", frame);
        self.canvas.put(right, y, "┘", frame);
        y + 1
    }
}

fn box_accent(node: &Node) -> Accent {
    match (&node.condition, node.role) {
        (Condition::Unreachable(_), _) => Accent::Alarm,
        (Condition::Ailing(_), _) => Accent::Warning,
        (Condition::Answering, Role::Primary) => Accent::Primary,
        (Condition::Answering, Role::Standby | Role::Unknown) => Accent::Plain,
    }
}

//! Where everything goes: a column for each step away from the primary, a row for each leaf.

use crate::picture::{Arrow, Follower, Node, Picture};
use crate::ruler::{Ruler, Weight};
use crate::words;

pub(crate) const NAME_SIZE: f32 = 16.0;
pub(crate) const TEXT_SIZE: f32 = 12.5;
pub(crate) const PILL_SIZE: f32 = 11.0;
pub(crate) const TITLE_SIZE: f32 = 20.0;
pub(crate) const CAPTION_SIZE: f32 = 13.0;
pub(crate) const LINE_HEIGHT: f32 = 19.0;
pub(crate) const PILL_HEIGHT: f32 = 19.0;
pub(crate) const MARGIN: f32 = 28.0;
/// From a card's left edge to its text: the room of the cylinder.
pub(crate) const CARD_TEXT_X: f32 = 52.0;
/// The straight end of a wire, before and after its label.
pub(crate) const WIRE_LABEL_PADDING: f32 = 12.0;
pub(crate) const ARROWHEAD: f32 = 11.0;

const CARD_TEXT_WIDTH_MIN: f32 = 150.0;
const CARD_TEXT_WIDTH_MAX: f32 = 340.0;
const CARD_PADDING_X: f32 = 18.0;
const CARD_PADDING_Y: f32 = 14.0;
const PILL_PADDING: f32 = 9.0;
/// Between the name of a server and its role, at least.
const NAME_TO_ROLE: f32 = 14.0;
const WIRE_LABEL_WIDTH_MAX: f32 = 260.0;
const WIRE_BEND: f32 = 72.0;
const ROW_GAP: f32 = 22.0;
const ROW_HEIGHT_MIN: f32 = 64.0;
const PORT_SPACING: f32 = 14.0;
const PICTURE_WIDTH_MIN: f32 = 520.0;
const NOTE_LINES_MAX: usize = 3;
const CAPTION_LINES_MAX: usize = 4;

/// A picture with all its places known.
pub(crate) struct Layout<'a> {
    pub width: f32,
    pub height: f32,
    pub title: Line,
    pub taken_at: Option<Line>,
    pub cards: Vec<Card<'a>>,
    pub wires: Vec<Wire<'a>>,
    /// The y of the rule above the caption, where there is a caption.
    pub rule: Option<f32>,
    pub caption: Vec<Line>,
}

/// A line of text and its baseline.
pub(crate) struct Line {
    pub x: f32,
    pub y: f32,
    pub text: String,
}

/// A server's rectangle.
pub(crate) struct Card<'a> {
    pub node: &'a Node,
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
    pub name: Line,
    pub role: Pill,
    pub lines: Vec<Line>,
    pub notes: Vec<Line>,
}

/// A short word in a rounded box.
pub(crate) struct Pill {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub text: &'static str,
}

/// From an upstream's card to a standby's.
pub(crate) struct Wire<'a> {
    pub arrow: &'a Arrow,
    pub from: (f32, f32),
    /// Where the bend ends and the straight part begins.
    pub bend_to: f32,
    pub to: (f32, f32),
    pub badge: Pill,
    pub progress: Option<Line>,
    pub slot: Option<Line>,
}

/// The widths that all servers at one depth share.
struct Column {
    text_width: f32,
    /// Of the labels on the wires that lead here.
    label_width: f32,
    x: f32,
}

impl Column {
    fn card_width(&self) -> f32 {
        CARD_TEXT_X + self.text_width + CARD_PADDING_X
    }
}

pub(crate) fn lay_out(picture: &Picture) -> Layout<'_> {
    let ruler = Ruler::new();
    let columns = columns(picture, &ruler);
    let mut scribe = Scribe {
        ruler: &ruler,
        columns: &columns,
        cards: Vec::new(),
        wires: Vec::new(),
    };

    let mut y = MARGIN + TITLE_SIZE;
    let title_y = y;
    let taken_at = picture.taken_at.as_ref().map(|text| {
        y += LINE_HEIGHT + 2.0;
        Line {
            x: MARGIN,
            y,
            text: words::shown(text),
        }
    });
    y += 24.0;
    for root in &picture.roots {
        y += scribe.tree(root, 0, y).height + ROW_GAP;
    }
    if !picture.roots.is_empty() {
        y -= ROW_GAP;
    }

    let (cards, wires) = (scribe.cards, scribe.wires);
    let right = |card: &Card| card.x + card.width;
    let width = cards.iter().map(right).fold(0.0, f32::max) + MARGIN;
    let width = width.max(PICTURE_WIDTH_MIN);
    let text_width = width - 2.0 * MARGIN;

    let mut caption = Vec::new();
    let mut rule = None;
    if picture.policy.is_some() || picture.risk.is_some() {
        y += 26.0;
        rule = Some(y);
        y += 8.0;
        for sentence in [&picture.policy, &picture.risk].into_iter().flatten() {
            y += 2.0;
            let sentence = words::shown(sentence);
            for text in ruler.wrap(
                &sentence,
                Weight::Regular,
                CAPTION_SIZE,
                text_width,
                CAPTION_LINES_MAX,
            ) {
                y += LINE_HEIGHT;
                caption.push(Line { x: MARGIN, y, text });
            }
        }
    }
    let title = words::shown(&picture.title);
    Layout {
        width,
        height: y + MARGIN,
        title: Line {
            x: MARGIN,
            y: title_y,
            text: ruler.elide(&title, Weight::Bold, TITLE_SIZE, text_width),
        },
        taken_at,
        cards,
        wires,
        rule,
        caption,
    }
}

fn columns(picture: &Picture, ruler: &Ruler) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for (depth, node) in picture.walk() {
        if columns.len() == depth {
            columns.push(Column {
                text_width: CARD_TEXT_WIDTH_MIN,
                label_width: 0.0,
                x: MARGIN,
            });
        }
        let column = &mut columns[depth];
        column.text_width = column
            .text_width
            .max(card_text_width(node, ruler))
            .min(CARD_TEXT_WIDTH_MAX);
        for follower in &node.standbys {
            let width = label_width(&follower.arrow, ruler).min(WIRE_LABEL_WIDTH_MAX);
            if columns.len() == depth + 1 {
                columns.push(Column {
                    text_width: CARD_TEXT_WIDTH_MIN,
                    label_width: 0.0,
                    x: MARGIN,
                });
            }
            let next = &mut columns[depth + 1];
            next.label_width = next.label_width.max(width);
        }
    }
    for depth in 1..columns.len() {
        let upstream = &columns[depth - 1];
        columns[depth].x = upstream.x
            + upstream.card_width()
            + WIRE_BEND
            + columns[depth].label_width
            + 2.0 * WIRE_LABEL_PADDING
            + ARROWHEAD;
    }
    columns
}

fn card_text_width(node: &Node, ruler: &Ruler) -> f32 {
    let regular = |text: &str| ruler.width(&words::shown(text), Weight::Regular, TEXT_SIZE);
    let name = ruler.width(&words::shown(&node.name), Weight::Bold, NAME_SIZE)
        + NAME_TO_ROLE
        + pill_width(words::role(node.role), ruler);
    let address = node.address.as_deref().map_or(0.0, regular);
    let build = words::build(node).as_deref().map_or(0.0, regular);
    name.max(address).max(build)
}

fn label_width(arrow: &Arrow, ruler: &Ruler) -> f32 {
    let regular = |text: String| ruler.width(&text, Weight::Regular, TEXT_SIZE);
    let above = pill_width(words::badge(&arrow.link), ruler)
        + words::progress(&arrow.link).map_or(0.0, |text| 8.0 + regular(text));
    above.max(words::slot(arrow).map_or(0.0, regular))
}

fn pill_width(text: &str, ruler: &Ruler) -> f32 {
    ruler.width(text, Weight::Bold, PILL_SIZE) + 2.0 * PILL_PADDING
}

/// Collects cards and wires while it descends a tree.
struct Scribe<'a, 'r> {
    ruler: &'r Ruler,
    columns: &'r [Column],
    cards: Vec<Card<'a>>,
    wires: Vec<Wire<'a>>,
}

/// The room a tree took, and where wires may reach its root.
struct Placed {
    height: f32,
    center_y: f32,
}

impl<'a> Scribe<'a, '_> {
    fn tree(&mut self, node: &'a Node, depth: usize, top: f32) -> Placed {
        let index = self.cards.len();
        let card = self.card(node, depth, top);
        let own_height = card.height.max(ROW_HEIGHT_MIN);
        self.cards.push(card);

        let mut below: Vec<(&'a Follower, f32)> = Vec::new();
        let mut y = top;
        let first_wire = self.wires.len();
        let first_card = self.cards.len();
        for follower in &node.standbys {
            let placed = self.tree(&follower.node, depth + 1, y);
            below.push((follower, placed.center_y));
            y += placed.height + ROW_GAP;
        }
        let standbys_height = (y - ROW_GAP - top).max(0.0);
        let height = own_height.max(standbys_height);

        // Standbys that take less room than their upstream stand in the middle beside it.
        let shift = (own_height - standbys_height).max(0.0) / 2.0;
        if !below.is_empty() && shift > 0.0 {
            self.cards[first_card..]
                .iter_mut()
                .for_each(|card| card.lower(shift));
            self.wires[first_wire..]
                .iter_mut()
                .for_each(|wire| wire.lower(shift));
            below.iter_mut().for_each(|(_, center)| *center += shift);
        }

        let card = &mut self.cards[index];
        let center_y = match (below.first(), below.last()) {
            (Some((_, first)), Some((_, last))) => (first + last) / 2.0,
            _ => top + own_height / 2.0,
        };
        card.lower(center_y - card.height / 2.0 - card.y);
        let (right, spread) = (card.x + card.width, card.height - 32.0);
        let count = below.len();
        let spacing = PORT_SPACING.min(spread / count.max(1) as f32);
        for (position, (follower, standby_y)) in below.into_iter().enumerate() {
            let offset = (position as f32 - (count as f32 - 1.0) / 2.0) * spacing;
            let wire = self.wire(follower, depth + 1, (right, center_y + offset), standby_y);
            self.wires.push(wire);
        }
        Placed { height, center_y }
    }

    fn card(&self, node: &'a Node, depth: usize, y: f32) -> Card<'a> {
        let Self { ruler, columns, .. } = self;
        let column = &columns[depth];
        let (x, width) = (column.x, column.card_width());
        let text_x = x + CARD_TEXT_X;
        let role = words::role(node.role);
        let role_width = pill_width(role, ruler);
        let mut baseline = y + CARD_PADDING_Y + NAME_SIZE - 2.0;
        let name_width_max = column.text_width - NAME_TO_ROLE - role_width;
        let name = Line {
            x: text_x,
            y: baseline,
            text: ruler.elide(
                &words::shown(&node.name),
                Weight::Bold,
                NAME_SIZE,
                name_width_max,
            ),
        };
        let role = Pill {
            x: x + width - CARD_PADDING_X - role_width,
            y: baseline - PILL_HEIGHT + 4.5,
            width: role_width,
            text: role,
        };
        baseline += 3.0;
        let mut line = |text: String| {
            baseline += LINE_HEIGHT;
            Line {
                x: text_x,
                y: baseline,
                text,
            }
        };
        let lines = [
            node.address.as_deref().map(words::shown),
            words::build(node).map(|text| words::shown(&text)),
        ]
        .into_iter()
        .flatten()
        .map(|text| line(ruler.elide(&text, Weight::Regular, TEXT_SIZE, column.text_width)))
        .collect();
        let notes = words::condition(&node.condition)
            .map(|text| {
                ruler.wrap(
                    &words::shown(&text),
                    Weight::Regular,
                    TEXT_SIZE,
                    column.text_width,
                    NOTE_LINES_MAX,
                )
            })
            .unwrap_or_default()
            .into_iter()
            .map(line)
            .collect();
        Card {
            node,
            x,
            y,
            width,
            height: baseline + CARD_PADDING_Y - y,
            name,
            role,
            lines,
            notes,
        }
    }

    fn wire(&self, follower: &'a Follower, depth: usize, from: (f32, f32), to_y: f32) -> Wire<'a> {
        let Self { ruler, columns, .. } = self;
        let column = &columns[depth];
        let arrow = &follower.arrow;
        let bend_to = from.0 + WIRE_BEND;
        let label_x = bend_to + WIRE_LABEL_PADDING;
        let badge = words::badge(&arrow.link);
        let badge_width = pill_width(badge, ruler);
        let fitting =
            |text: String, room: f32| ruler.elide(&text, Weight::Regular, TEXT_SIZE, room);
        Wire {
            arrow,
            from,
            bend_to,
            to: (column.x, to_y),
            badge: Pill {
                x: label_x,
                y: to_y - PILL_HEIGHT - 7.0,
                width: badge_width,
                text: badge,
            },
            progress: words::progress(&arrow.link).map(|text| Line {
                x: label_x + badge_width + 8.0,
                y: to_y - 12.0,
                text: fitting(text, column.label_width - badge_width - 8.0),
            }),
            slot: words::slot(arrow).map(|text| Line {
                x: label_x,
                y: to_y + 18.0,
                text: fitting(text, column.label_width),
            }),
        }
    }
}

impl Card<'_> {
    fn lower(&mut self, by: f32) {
        self.y += by;
        self.name.y += by;
        self.role.y += by;
        for line in self.lines.iter_mut().chain(&mut self.notes) {
            line.y += by;
        }
    }
}

impl Wire<'_> {
    fn lower(&mut self, by: f32) {
        self.from.1 += by;
        self.to.1 += by;
        self.badge.y += by;
        for line in self.progress.iter_mut().chain(&mut self.slot) {
            line.y += by;
        }
    }
}

//! What the samples look like, and what no name may do to a picture.

mod samples;

use std::time::Duration;

use manada_diagram::{
    Arrow, Charset, Condition, Follower, Lag, Link, Node, Picture, Role, Slot, SlotState, Theme,
    draw, mermaid, png, svg,
};
use manada_model::{SyncState, TimelineId};
use proptest::prelude::*;
use resvg::usvg::roxmltree::Document;

#[test]
fn samples_in_the_terminal() {
    for (name, picture) in samples::all() {
        insta::assert_snapshot!(
            format!("terminal_{name}"),
            draw(&picture, 80, Charset::Unicode).to_plain()
        );
    }
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    let drawing = draw(&samples::one_of_three_unreachable(), 80, Charset::Ascii).to_plain();
    assert!(drawing.is_ascii());
    insta::assert_snapshot!("terminal_ascii", drawing);
}

#[test]
fn samples_as_mermaid() {
    for (name, picture) in samples::all() {
        insta::assert_snapshot!(format!("mermaid_{name}"), mermaid(&picture));
    }
}

#[test]
fn samples_as_svg() {
    for (name, picture) in [
        ("cascade", samples::cascade()),
        (
            "one_of_three_unreachable",
            samples::one_of_three_unreachable(),
        ),
    ] {
        insta::assert_snapshot!(format!("svg_{name}"), svg(&picture, Theme::Auto));
    }
}

#[test]
fn a_png_shows_its_text_without_any_font_of_the_machine() {
    let ana = samples::alone();
    let mut eva = ana.clone();
    eva.roots[0].name = "eva".to_owned();
    let bytes = png(&ana, Theme::Light).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert_eq!(
        bytes,
        png(&ana, Theme::Light).expect("a picture"),
        "the same twice"
    );
    assert_ne!(
        bytes,
        png(&eva, Theme::Light).expect("a picture"),
        "the name is drawn"
    );
    assert_ne!(
        bytes,
        png(&ana, Theme::Dark).expect("a picture"),
        "the ground is drawn"
    );
}

#[test]
fn a_picture_too_large_for_a_png_is_refused() {
    let mut picture = samples::one_standby();
    let standby = picture.roots[0].standbys[0].clone();
    picture.roots[0]
        .standbys
        .extend(std::iter::repeat_n(standby, 200));
    let error = png(&picture, Theme::Light).expect_err("8 thousand units high");
    assert!(error.to_string().contains("write an SVG"), "{error}");
}

/// Text as a server, a resolver or a user might make it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,8}",
        any::<String>(),
        r#"(<|>|&|"|'|`|;|#|\]|\)|%%|--|\\|</svg>|<script>|\]\]>|\n|ñ|馬|👪|\x1b\[31m){0,12}"#,
        "[a-z]{60,90}",
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let condition = prop_oneof![
        Just(Condition::Answering),
        text().prop_map(Condition::Ailing),
        text().prop_map(Condition::Unreachable),
    ];
    let role = prop_oneof![
        Just(Role::Primary),
        Just(Role::Standby),
        Just(Role::Unknown)
    ];
    let leaf = (
        text(),
        role,
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(any::<u32>().prop_map(TimelineId)),
        condition,
    )
        .prop_map(|(name, role, address, version, timeline, condition)| Node {
            name,
            role,
            address,
            version,
            timeline,
            condition,
            standbys: Vec::new(),
        })
        .boxed();
    leaf.clone().prop_recursive(12, 16, 4, move |standby| {
        let follower = (arrow(), standby).prop_map(|(arrow, node)| Follower { arrow, node });
        (leaf.clone(), proptest::collection::vec(follower, 0..4))
            .prop_map(|(node, standbys)| Node { standbys, ..node })
    })
}

fn arrow() -> impl Strategy<Value = Arrow> {
    let state = prop_oneof![
        Just(SyncState::Sync),
        Just(SyncState::Quorum),
        Just(SyncState::Potential),
        Just(SyncState::Async)
    ];
    let lag = (
        proptest::option::of(any::<u64>()),
        proptest::option::of(any::<u64>().prop_map(Duration::from_micros)),
    )
        .prop_map(|(bytes, time)| Lag { bytes, time });
    let link = prop_oneof![
        (state.clone(), lag.clone()).prop_map(|(state, lag)| Link::Streaming(state, lag)),
        (state, lag).prop_map(|(state, lag)| Link::CatchingUp(state, lag)),
        Just(Link::Broken),
        Just(Link::Unknown),
    ];
    let slot_state = prop_oneof![
        Just(SlotState::Active),
        Just(SlotState::Inactive),
        Just(SlotState::Unreserved),
        Just(SlotState::Lost)
    ];
    let slot = (text(), slot_state, proptest::option::of(any::<u64>())).prop_map(
        |(name, state, retained_bytes)| Slot {
            name,
            state,
            retained_bytes,
        },
    );
    (link, proptest::option::of(slot)).prop_map(|(link, slot)| Arrow { link, slot })
}

fn picture() -> impl Strategy<Value = Picture> {
    (
        text(),
        proptest::option::of(text()),
        proptest::collection::vec(node(), 0..3),
        proptest::option::of(text()),
        proptest::option::of(text()),
    )
        .prop_map(|(title, taken_at, roots, policy, risk)| Picture {
            title,
            taken_at,
            roots,
            policy,
            risk,
        })
}

/// How many servers are in the picture.
fn servers(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| 1 + servers_below(node)).sum()
}

fn servers_below(node: &Node) -> usize {
    node.standbys
        .iter()
        .map(|follower| 1 + servers_below(&follower.node))
        .sum()
}

/// The one number of an attribute.
fn number(node: &resvg::usvg::roxmltree::Node, attribute: &str) -> f32 {
    node.attribute(attribute)
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{attribute} of {node:?} is a number"))
}

proptest! {
    #[test]
    fn no_drawing_is_wider_than_the_terminal(picture in picture(), width in 32..120_usize) {
        for charset in [Charset::Unicode, Charset::Ascii] {
            for line in draw(&picture, width, charset).to_plain().lines() {
                prop_assert!(unicode_width::UnicodeWidthStr::width(line) <= width, "{line:?}");
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }

    #[test]
    fn no_name_adds_an_element_to_an_svg(picture in picture()) {
        let text = svg(&picture, Theme::Auto);
        let document = Document::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        let expected = ["svg", "title", "desc", "style", "rect", "path", "text", "g"];
        for element in document.descendants().filter(|node| node.is_element()) {
            prop_assert!(expected.contains(&element.tag_name().name()), "{element:?}");
            prop_assert!(element.attributes().all(|attribute| !attribute.name().starts_with("on")));
        }
        let cards = document.descendants().filter(|node| node.attribute("class") == Some("card"));
        prop_assert_eq!(cards.count(), servers(&picture.roots));
    }

    #[test]
    fn no_card_lies_on_another_or_leaves_the_picture(picture in picture()) {
        let text = svg(&picture, Theme::Auto);
        let document = Document::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let root = document.root_element();
        let (width, height) = (number(&root, "width"), number(&root, "height"));
        let cards: Vec<[f32; 4]> = document
            .descendants()
            .filter(|node| node.attribute("class") == Some("card"))
            .map(|card| ["x", "y", "width", "height"].map(|attribute| number(&card, attribute)))
            .collect();
        for (index, [x, y, w, h]) in cards.iter().enumerate() {
            prop_assert!(*x >= 0.0 && *y >= 0.0 && x + w <= width && y + h <= height);
            for [other_x, other_y, other_w, other_h] in &cards[index + 1..] {
                let beside = x + w <= *other_x || other_x + other_w <= *x;
                let below = y + h <= *other_y || other_y + other_h <= *y;
                prop_assert!(beside || below);
            }
        }
    }

    #[test]
    fn no_name_leaves_its_label_in_mermaid(picture in picture()) {
        let chart = mermaid(&picture);
        let body = chart.lines().skip(4);
        for line in body {
            let quotes = line.matches('"').count();
            prop_assert!(quotes == 0 || quotes == 2, "{line:?}");
            if let Some(label) = line.split('"').nth(1) {
                let label = label.replace("<br/>", "").replace("<b>", "").replace("</b>", "");
                prop_assert!(!label.contains(['<', '>', '`', '&', '\\', '%', '{', '}', '[']), "{line:?}");
            }
        }
        let nodes = chart.lines().filter(|line| line.contains("[(\"")).count();
        prop_assert_eq!(nodes, servers(&picture.roots));
    }
}

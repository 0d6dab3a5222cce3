//! Colours, and the style sheet made of them.

/// Which background a picture is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// What the reader's system prefers, where the viewer says so; else light.
    #[default]
    Auto,
    /// Dark ink on a light ground.
    Light,
    /// Light ink on a dark ground.
    Dark,
}

/// The colours of one ground. Each sort of wire differs in its dashes too, and is named in words.
struct Palette {
    ground: &'static str,
    card: &'static str,
    edge: &'static str,
    ink: &'static str,
    muted: &'static str,
    primary: &'static str,
    standby: &'static str,
    sync: &'static str,
    quorum: &'static str,
    potential: &'static str,
    relaxed: &'static str,
    alarm: &'static str,
    /// Of the text on a filled pill.
    on_pill: &'static str,
}

const LIGHT: Palette = Palette {
    ground: "#f6f8fa",
    card: "#ffffff",
    edge: "#cdd5de",
    ink: "#1b2430",
    muted: "#57626f",
    primary: "#2b5f93",
    standby: "#64748b",
    sync: "#17703a",
    quorum: "#6d3fc4",
    potential: "#8a5a00",
    relaxed: "#5b6876",
    alarm: "#c02430",
    on_pill: "#ffffff",
};

const DARK: Palette = Palette {
    ground: "#0f141b",
    card: "#18202a",
    edge: "#36414e",
    ink: "#e8edf3",
    muted: "#9aa7b5",
    primary: "#74b3f0",
    standby: "#9db0c6",
    sync: "#54cf80",
    quorum: "#b79bff",
    potential: "#e6b045",
    relaxed: "#a3b0be",
    alarm: "#ff7b80",
    on_pill: "#0f141b",
};

impl Theme {
    /// The style sheet of a picture.
    pub(crate) fn style_sheet(self) -> String {
        match self {
            Theme::Light => format!("{SHAPES}{}", colours(&LIGHT)),
            Theme::Dark => format!("{SHAPES}{}", colours(&DARK)),
            Theme::Auto => format!(
                "{SHAPES}{}@media (prefers-color-scheme: dark) {{\n{}}}\n",
                colours(&LIGHT),
                colours(&DARK)
            ),
        }
    }
}

const SHAPES: &str = "\
text { font-family: system-ui, 'DejaVu Sans', Verdana, sans-serif; }
.title { font-size: 20px; font-weight: bold; }
.name { font-size: 16px; font-weight: bold; }
.text { font-size: 12.5px; }
.caption { font-size: 13px; }
.word { font-size: 11px; font-weight: bold; text-anchor: middle; }
.card { stroke-width: 1.25; }
.unreachable .card { stroke-dasharray: 6 4; }
.cylinder { stroke-width: 1.75; stroke-linejoin: round; }
.wire, .cross { fill: none; stroke-width: 2; stroke-linecap: round; }
.cross { stroke-width: 2.5; }
.sync .wire, .quorum .wire { stroke-width: 3; }
.potential .wire { stroke-dasharray: 9 6; }
.async .wire { stroke-dasharray: 1 6; stroke-width: 2.5; }
.broken .wire, .unknown .wire { stroke-dasharray: 3 7; }
";

fn colours(palette: &Palette) -> String {
    let Palette {
        ground,
        card,
        edge,
        ink,
        muted,
        primary,
        standby,
        sync,
        quorum,
        potential,
        relaxed,
        alarm,
        on_pill,
    } = palette;
    let mut sheet = format!(
        "\
.ground {{ fill: {ground}; }}
.card {{ fill: {card}; stroke: {edge}; }}
.rule {{ stroke: {edge}; }}
text {{ fill: {ink}; }}
.muted {{ fill: {muted}; }}
.alarm {{ fill: {alarm}; }}
.pill {{ fill: {standby}; }}
.word {{ fill: {on_pill}; }}
.cylinder {{ fill: {card}; stroke: {standby}; }}
.primary .card {{ stroke: {primary}; }}
.primary .pill {{ fill: {primary}; }}
.primary .cylinder {{ fill: {primary}; stroke: {primary}; }}
.primary .rim {{ fill: none; stroke: {card}; }}
.ailing .card {{ stroke: {potential}; }}
.ailing .note {{ fill: {potential}; }}
.unreachable .card {{ fill: {ground}; stroke: {alarm}; }}
.unreachable .pill {{ fill: {muted}; }}
.unreachable .name {{ fill: {muted}; }}
.unreachable .note {{ fill: {alarm}; }}
.unreachable .cylinder {{ fill: {ground}; stroke: {alarm}; }}
.unreachable .rim {{ fill: none; stroke: {alarm}; }}
"
    );
    let wires = [
        ("sync", sync),
        ("quorum", quorum),
        ("potential", potential),
        ("async", relaxed),
        ("broken", alarm),
        ("unknown", muted),
    ];
    for (class, colour) in wires {
        sheet += &format!(
            ".{class} .wire, .{class} .cross {{ stroke: {colour}; }}\n.{class} .head, .{class} .badge {{ fill: {colour}; }}\n"
        );
    }
    sheet
}

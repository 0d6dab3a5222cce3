//! How wide text is, in the font the picture is set in.

use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

/// A face of the embedded font.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

/// Measures with DejaVu Sans: it is among the widest in common use, so what fits here fits in
/// whatever font a browser takes in its place.
pub(crate) struct Ruler {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

impl Ruler {
    pub(crate) fn new() -> Self {
        let face = |bytes| FontRef::new(bytes).expect("the embedded font is well-formed");
        Self {
            regular: face(dejavu::sans::regular()),
            bold: face(dejavu::sans::bold()),
        }
    }

    /// The width of `text` at `size` units.
    pub(crate) fn width(&self, text: &str, weight: Weight, size: f32) -> f32 {
        let face = match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        };
        let charmap = face.charmap();
        let metrics = face.glyph_metrics(Size::new(size), LocationRef::default());
        text.chars()
            .map(|c| {
                charmap
                    .map(c)
                    .and_then(|glyph| metrics.advance_width(glyph))
                    // A browser finds such a character in another font, where it is at most this wide.
                    .unwrap_or(size)
            })
            .sum()
    }

    /// `text`, with its middle left out where it is wider than `width_max`: names differ at
    /// both ends.
    pub(crate) fn elide(&self, text: &str, weight: Weight, size: f32, width_max: f32) -> String {
        if self.width(text, weight, size) <= width_max {
            return text.to_owned();
        }
        let chars: Vec<char> = text.chars().collect();
        let keeping = |kept: usize| -> String {
            let head = kept.div_ceil(2);
            let tail = kept - head;
            chars[..head]
                .iter()
                .chain(&['…'])
                .chain(&chars[chars.len() - tail..])
                .collect()
        };
        (0..chars.len())
            .rev()
            .map(keeping)
            .find(|elided| self.width(elided, weight, size) <= width_max)
            .unwrap_or_else(|| "…".to_owned())
    }

    /// `text` in lines of at most `width_max`, broken at spaces; what is over after `lines_max` is left out.
    pub(crate) fn wrap(
        &self,
        text: &str,
        weight: Weight,
        size: f32,
        width_max: f32,
        lines_max: usize,
    ) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
        while let Some(word) = words.next() {
            let mut line = self.elide(word, weight, size, width_max);
            while let Some(next) = words.peek() {
                let longer = format!("{line} {next}");
                if self.width(&longer, weight, size) > width_max {
                    break;
                }
                line = longer;
                words.next();
            }
            if lines.len() + 1 == lines_max && words.peek().is_some() {
                line = self.cut(&line, weight, size, width_max);
                words.by_ref().for_each(drop);
            }
            lines.push(line);
        }
        lines
    }

    /// As much of `text` as leaves room for the ellipsis that says there is more.
    fn cut(&self, text: &str, weight: Weight, size: f32, width_max: f32) -> String {
        let mut kept = text.to_owned();
        while self.width(&format!("{kept}…"), weight, size) > width_max && kept.pop().is_some() {}
        format!("{}…", kept.trim_end())
    }
}

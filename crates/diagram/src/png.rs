//! The picture as PNG, rendered from the SVG with a font of our own.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::picture::Picture;
use crate::svg::svg;
use crate::theme::Theme;

/// Pixels to one unit of the SVG: sharp on the dense displays most people have.
const SCALE: f32 = 2.0;

/// The largest picture that is rendered, in pixels a side.
const SIDE_PIXELS_MAX: f32 = 16_384.0;

/// A picture could not be made a PNG.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The picture is too large for an image.
    #[error("a picture of {width:.0} by {height:.0} is too large for a PNG: write an SVG instead")]
    TooLarge {
        /// In the units of the SVG.
        width: f32,
        /// In the units of the SVG.
        height: f32,
    },
    /// The renderer did not take the SVG.
    #[error("rendering the picture failed: {0}")]
    Rendering(#[from] resvg::usvg::Error),
    /// The encoder failed.
    #[error("encoding the picture as PNG failed: {0}")]
    Encoding(String),
}

/// Draws the picture as a PNG, the bytes of a file. [`Theme::Auto`] is light here.
pub fn png(picture: &Picture, theme: Theme) -> Result<Vec<u8>, PngError> {
    let theme = match theme {
        Theme::Auto | Theme::Light => Theme::Light,
        Theme::Dark => Theme::Dark,
    };
    let options = Options {
        fontdb: Arc::new(fonts()),
        ..Options::default()
    };
    let tree = Tree::from_str(&svg(picture, theme), &options)?;
    let (width, height) = (tree.size().width(), tree.size().height());
    let too_large = || PngError::TooLarge { width, height };
    if width.max(height) * SCALE > SIDE_PIXELS_MAX {
        return Err(too_large());
    }
    let pixels = |length: f32| (length * SCALE).ceil() as u32;
    let mut pixmap = Pixmap::new(pixels(width), pixels(height)).ok_or_else(too_large)?;
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixmap.as_mut(),
    );
    pixmap
        .encode_png()
        .map_err(|error| PngError::Encoding(error.to_string()))
}

/// The embedded faces and nothing else: the machine may have none, or others.
fn fonts() -> fontdb::Database {
    let mut fonts = fontdb::Database::new();
    for face in [dejavu::sans::regular(), dejavu::sans::bold()] {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(face)));
    }
    fonts.set_sans_serif_family("DejaVu Sans");
    fonts
}

//! Writes pictures of sample herds into a directory, to be looked at.

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::{env, error::Error, fs, path::PathBuf};

use manada_diagram::{Charset, Theme, draw, mermaid, png, svg};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args().nth(1).ok_or("usage: gallery DIR")?);
    fs::create_dir_all(&directory)?;
    for (name, picture) in samples::all() {
        let file = |suffix: &str| directory.join(format!("{name}{suffix}"));
        fs::write(file(".svg"), svg(&picture, Theme::Auto))?;
        fs::write(file("-light.png"), png(&picture, Theme::Light)?)?;
        fs::write(file("-dark.png"), png(&picture, Theme::Dark)?)?;
        fs::write(file(".mmd"), mermaid(&picture))?;
        fs::write(
            file(".txt"),
            draw(&picture, 80, Charset::Unicode).to_plain(),
        )?;
    }
    Ok(())
}

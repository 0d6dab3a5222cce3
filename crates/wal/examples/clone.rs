//! Clones a server: `cargo run --release -p manada-wal --example clone -- URI TARGET`.

use std::error::Error;
use std::path::PathBuf;

use manada_postgres::conninfo::{Conninfo, Environment};
use manada_wal::clone::{self, CloneRequest, CloneSlot};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(uri), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("give the source's URI and the target directory".into());
    };
    let source = Conninfo::parse(&uri, &Environment::of_process())?;
    let request = CloneRequest::new(source, PathBuf::from(target), CloneSlot::Temporary);
    clone::run(request, |_progress| ()).await?;
    Ok(())
}

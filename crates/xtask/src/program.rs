//! The `manada` that is tried or measured.

use std::path::PathBuf;
use std::process::Command;

use crate::repository;

/// Which one.
#[derive(Debug, clap::Args)]
pub(crate) struct Program {
    /// The `manada` to run [default: built from here, as it is shipped].
    #[arg(long, value_name = "PROGRAM")]
    manada: Option<PathBuf>,
}

impl Program {
    /// Where it is. It is built where nobody said.
    pub(crate) fn path(&self) -> Result<PathBuf, String> {
        match &self.manada {
            Some(program) => Ok(program.clone()),
            None => build_release("manada", &[], "manada"),
        }
    }
}

/// Builds something of `package` as it is shipped, and says where it is: at `built` among what
/// releases are made of.
pub(crate) fn build_release(
    package: &str,
    options: &[&str],
    built: &str,
) -> Result<PathBuf, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--release", "--package", package])
        .args(options)
        .current_dir(repository());
    let status = cargo
        .status()
        .map_err(|error| format!("cargo can't be run: {error}"))?;
    if !status.success() {
        return Err(format!("{package} can't be built"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    Ok(target.join("release").join(built))
}

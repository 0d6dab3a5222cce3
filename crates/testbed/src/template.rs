//! Freshly made data directories, kept below cargo's target directory: a copy takes a tenth of
//! the time that `initdb` takes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use manada_postgres::os_user::OsUser;

use crate::programs::Programs;
use crate::run::output;
use crate::scratch::Scratch;
use crate::tree;

/// The superuser's password in a server that was given no other.
pub(crate) const SUPERUSER_PASSWORD: &str = "testbed";

/// Changes when what a template holds does.
const LAYOUT: u32 = 1;

/// Makes the data directory `data` for `owner`, with data checksums or without.
pub(crate) fn make_data_directory(
    programs: &Programs,
    checksums: bool,
    data: &Path,
    owner: &OsUser,
) {
    let made = template(programs, checksums)
        .and_then(|template| tree::copy(&template, data, owner, &|_| true));
    if let Err(error) = made {
        panic!("can't make the data directory {}: {error}", data.display());
    }
}

/// Makes a data directory that shares its system identifier with no other server's.
pub(crate) fn make_unique_data_directory(
    programs: &Programs,
    checksums: bool,
    data: &Path,
    owner: &OsUser,
) {
    if let Err(error) = initdb(programs, checksums, data, owner) {
        panic!("can't make the data directory {}: {error}", data.display());
    }
}

/// The template's place; made there when it is missing.
fn template(programs: &Programs, checksums: bool) -> io::Result<PathBuf> {
    let build = output(Command::new(programs.program("postgres")).arg("--version"))?;
    let build_name: String = build
        .trim()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let kind = if checksums { "" } else { "-no-checksums" };
    let name = format!("{build_name}{kind}-{LAYOUT}");
    let place = directory()?.join(&name);
    // Whoever comes second finds it made.
    let lock = fs::File::create(place.with_file_name("lock"))?;
    lock.lock()?;
    if place.exists() {
        return Ok(place);
    }
    let scratch = Scratch::new();
    let owner = who_runs_servers();
    owner.own(scratch.path())?;
    let fresh = scratch.path().join("data");
    initdb(programs, checksums, &fresh, &owner)?;
    // The two may be on different file systems; the name is given when all is there.
    let partial = place.with_file_name(format!("partial-{name}"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    tree::copy(&fresh, &partial, &owner, &|_| true)?;
    fs::rename(&partial, &place)?;
    Ok(place)
}

/// `testbed/` in cargo's target directory, which the test program lies in: what test programs
/// keep for the next.
pub(crate) fn directory() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .map_or_else(std::env::temp_dir, Path::to_owned);
    let directory = target.join("testbed");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn initdb(programs: &Programs, checksums: bool, data: &Path, owner: &OsUser) -> io::Result<()> {
    let passwords = Scratch::new();
    let password_file = passwords.path().join("password");
    tree::write_private(&password_file, SUPERUSER_PASSWORD, owner)?;
    let mut command = owner.command(programs.program("initdb"));
    command
        .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
        .args(["--encoding=UTF8", "--locale=C", "--no-instructions"])
        .arg(format!("--pwfile={}", password_file.display()))
        .arg(format!("--pgdata={}", data.display()))
        .current_dir(passwords.path());
    if checksums {
        command.arg("--data-checksums");
    } else if programs.version() >= manada_model::MajorVersion::V18 {
        // On by default from 18.
        command.arg("--no-data-checksums");
    }
    output(&mut command).map(|_| ())
}

/// Who runs the servers: the user who runs the tests, or for root somebody else.
///
/// # Panics
/// When this machine has neither the user `postgres` nor `nobody`.
pub(crate) fn who_runs_servers() -> OsUser {
    OsUser::for_new_server().expect("a Unix machine has the user nobody")
}

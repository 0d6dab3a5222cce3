//! A server's configuration files as a node's: `manada.conf`, its include, the marked blocks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::quote::Unquotable;
use manada_postgres::replace_file::{FileOwner, ReplaceFileError, replace_file};
use manada_postgres::settings::{
    DamagedBlock, ManagedSettings, SettingsError, with_block, with_include,
};

use crate::access::{self, Door};
use crate::member::Member;
use crate::node::PRIVATE;
use crate::node_file::NodeFile;

/// A server's files can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ServerFilesError {
    /// It can't be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// It can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
    /// `manada.conf`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The marked block is not whole.
    #[error("{}: {source}", path.display())]
    Block {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DamagedBlock,
    },
    /// The server's user can't be told.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// A name that can't be written into an access rule.
    #[error("an access rule can't be written: {0}")]
    Rule(#[from] Unquotable),
}

/// Writes all of it for a server that Manada made.
pub(crate) fn write_server_files(
    node: &NodeFile,
    user: &OsUser,
    settings: &ManagedSettings,
    members: &[Member],
) -> Result<(), ServerFilesError> {
    let owner = FileOwner {
        uid: user.uid(),
        gid: user.gid(),
        mode: PRIVATE,
    };
    settings.write(&node.settings_file(), owner)?;
    if let Some(text) = with_include(&read(&node.config_file)?) {
        replace_file(&node.config_file, &text, owner)?;
    }
    write_access_block(node, members)?;
    let ident_file = node.data_directory.join("pg_ident.conf");
    let block = access::identity(node, user).render()?;
    write_block(&ident_file, &block)?;
    Ok(())
}

/// Brings the marked block in `pg_hba.conf` up to date with the members; a door that an agent has
/// closed stays so. Says whether it changed.
pub(crate) fn write_access_block(
    node: &NodeFile,
    members: &[Member],
) -> Result<bool, ServerFilesError> {
    if node.protect.is_some() {
        let user = OsUser::of_data_directory(&node.data_directory)?;
        let door = access::door_in(&read(&node.hba_file)?);
        return write_protected_access(node, &user, members, door);
    }
    write_block(&node.hba_file, &access::block(node, members).render()?)
}

/// The same for a node that an agent protects.
pub(crate) fn write_protected_access(
    node: &NodeFile,
    user: &OsUser,
    members: &[Member],
    door: Door,
) -> Result<bool, ServerFilesError> {
    if node.adopted && user.name() != node.superuser {
        let ident_file = node.hba_file.with_file_name("pg_ident.conf");
        write_block(&ident_file, &access::identity(node, user).render()?)?;
    }
    let block = access::protected_block(node, user, members, door);
    write_block(&node.hba_file, &block.render()?)
}

fn write_block(path: &Path, block: &str) -> Result<bool, ServerFilesError> {
    let old = read(path)?;
    let new = with_block(&old, block).map_err(|source| ServerFilesError::Block {
        path: path.to_path_buf(),
        source,
    })?;
    if new == old {
        return Ok(false);
    }
    let owner = FileOwner::like(path).map_err(|source| ServerFilesError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    replace_file(path, &new, owner)?;
    Ok(true)
}

pub(crate) fn read(path: &Path) -> Result<String, ServerFilesError> {
    fs::read_to_string(path).map_err(|source| ServerFilesError::Read {
        path: path.to_path_buf(),
        source,
    })
}

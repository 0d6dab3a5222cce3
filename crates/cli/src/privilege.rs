//! What somebody types who may not read a node's files.

use std::io::ErrorKind;
use std::path::Path;

use manada_herd::{FindNodeError, Home, HomeError, NodeFileError};
use manada_postgres::os_user::{owner_name, we_are_root};

/// As whom to type the same, where this user finds no node because the files are another's.
pub(crate) fn as_whom(error: &FindNodeError) -> Option<String> {
    if we_are_root() { None } else { step(error) }
}

fn step(error: &FindNodeError) -> Option<String> {
    let closed = match error {
        FindNodeError::File(NodeFileError::Read { path, source })
        | FindNodeError::Home(HomeError::Io { path, source, .. })
            if source.kind() == ErrorKind::PermissionDenied =>
        {
            path
        }
        // Root's nodes are where no other user looks.
        FindNodeError::None if Home::of_root().exists() => {
            return Some("or, for the nodes that root has set up: sudo manada …".to_owned());
        }
        FindNodeError::None
        | FindNodeError::Several { .. }
        | FindNodeError::File(_)
        | FindNodeError::Home(_) => return None,
    };
    Some(match closed.ancestors().find_map(owner) {
        Some(owner) if owner != "root" => {
            format!("the same as its owner: sudo -u {owner} manada …")
        }
        Some(_) | None => "the same as root: sudo manada …".to_owned(),
    })
}

fn owner(path: &Path) -> Option<String> {
    owner_name(path).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn who_may_not_read_a_node_is_told_as_whom_to_type_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let whose = owner(directory.path()).expect("somebody's");
        let error = |kind| {
            FindNodeError::File(NodeFileError::Read {
                path: directory.path().join("closed/manada.toml"),
                source: io::Error::from(kind),
            })
        };
        let said = step(&error(ErrorKind::PermissionDenied)).expect("a step");
        let expected = match whose.as_str() {
            "root" => "sudo manada …".to_owned(),
            _ => format!("sudo -u {whose} manada …"),
        };
        assert!(said.ends_with(&expected), "{said}");
        assert_eq!(step(&error(ErrorKind::InvalidData)), None);
    }
}

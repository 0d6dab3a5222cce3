//! Why a server does not start, and what to do about it.

use manada_model::{StartFailure, StartTrouble};

/// That it does not, and why.
pub(super) fn sentence(failures: u32, trouble: Option<&StartTrouble>) -> String {
    let tries = match failures {
        1 => "its server did not start, and is started again".to_owned(),
        _ => format!("its server has not started in {failures} tries, and is started again"),
    };
    let Some(StartTrouble { failure, said }) = trouble else {
        return tries;
    };
    let data = if failure.may_be_of_data() {
        ""
    } else {
        "; its data are not to blame, and are left as they are"
    };
    let who = if *failure == StartFailure::NotRun {
        "what was in the way"
    } else {
        "PostgreSQL says"
    };
    match said.trim_end_matches('.') {
        "" => format!("{tries}{data}"),
        said => format!("{tries}{data}; {who}: {said}"),
    }
}

/// What to do about it. Its agent starts the server again by itself.
pub(super) fn remedy(failure: Option<StartFailure>) -> String {
    let what = match failure {
        Some(StartFailure::PortTaken) => {
            "see who listens on its port (ss -ltnp), and stop that program"
        }
        Some(StartFailure::ForeignAddress) => {
            "take the address that is not this host's out of listen_addresses in its postgresql.conf"
        }
        Some(StartFailure::SocketDirectory) => {
            "make the directory in unix_socket_directories, so that the server's user can write to it"
        }
        Some(StartFailure::DiskFull) => "make room on that file system (df -h)",
        Some(StartFailure::ReadOnly) => "mount that file system writable (mount -o remount,rw)",
        Some(StartFailure::Permissions) => {
            "give the server's user the file back that is named (chown, chmod)"
        }
        Some(StartFailure::SharedMemoryInUse) => {
            "end what the former server has left (ps -u postgres)"
        }
        Some(StartFailure::SharedMemoryExhausted) => {
            "lower shared_buffers or max_connections in its postgresql.conf, or give the host more \
             memory"
        }
        Some(StartFailure::AlreadyRunning) => "stop the server that runs on its data directory",
        Some(StartFailure::WrongVersion) => {
            "install the programs again by which the data was made, where they were"
        }
        Some(StartFailure::Configuration) => "correct the line that is named",
        Some(StartFailure::LimitsBelowPrimary) => "raise the setting that is named",
        Some(StartFailure::BeforeItsData | StartFailure::NotRun) => "mend what is named",
        Some(StartFailure::Other) | None => {
            return "why stands in its log: log/postgresql.log in the node's home".to_owned();
        }
    };
    format!("{what}; its agent starts it again by itself within some seconds")
}

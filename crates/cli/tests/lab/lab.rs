//! Running `manada lab` in a directory of its own, and looking at what it leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use manada_testbed::{Network, Outcome, Programs, Scratch};

/// The program under test.
pub(crate) const MANADA: &str = env!("CARGO_BIN_EXE_manada");

/// Runs a test where no other lab can take the ports of its own while it is stopped.
pub(crate) fn on_a_host_of_its_own(test: impl FnOnce() + Send) -> Outcome {
    let network = Network::new()?;
    network.host("lab").inside(test);
    Ok(())
}

/// A place for one lab.
pub(crate) struct Place {
    scratch: Scratch,
    home: PathBuf,
    bin: PathBuf,
}

impl Place {
    pub(crate) fn new(programs: &Programs) -> Place {
        let scratch = Scratch::new();
        let home = scratch.path().join("lab");
        Place {
            scratch,
            home,
            bin: programs.bin().to_path_buf(),
        }
    }

    /// The same with the lab's directory elsewhere in the scratch directory.
    pub(crate) fn at(mut self, name: &str) -> Place {
        self.home = self.scratch.path().join(name);
        self
    }

    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// `manada lab` with these arguments, in a known environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MANADA);
        self.arguments(&mut command, arguments);
        command
    }

    pub(crate) fn arguments(&self, command: &mut Command, arguments: &[&str]) {
        let play = !arguments
            .first()
            .is_some_and(|first| ["stop", "start", "rm"].contains(first));
        command
            .arg("lab")
            .args(arguments)
            .arg("--home")
            .arg(&self.home);
        if play {
            command.arg("--pg").arg(&self.bin);
        }
        command
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env_remove("MANADA_LOG")
            .stdin(Stdio::null());
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("manada runs")
    }

    /// Runs it and expects success; gives what it printed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }

    /// Runs it and expects this exit code; gives what it said on standard error.
    #[track_caller]
    pub(crate) fn fail(&self, arguments: &[&str], exit_code: i32) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(exit_code),
            "{arguments:?}: {}\n{said}",
            String::from_utf8_lossy(&output.stdout)
        );
        said
    }

    /// Starts it and does not wait.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("manada runs")
    }

    /// The processes that name this place in their arguments or work in it.
    pub(crate) fn processes(&self) -> Vec<String> {
        let place = self.scratch.path();
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                entry.file_name().to_str()?.parse::<u32>().ok()?;
                let path = entry.path();
                let arguments = fs::read(path.join("cmdline")).ok()?;
                let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
                let works_here =
                    fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(place));
                let names_it = arguments.contains(&place.display().to_string());
                (works_here || names_it).then_some(arguments)
            })
            .collect()
    }

    /// What is left in the place.
    pub(crate) fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.scratch.path())
            .expect("the place is there")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Runs SQL on a node as its superuser, through the Unix socket, with psql.
    #[track_caller]
    pub(crate) fn sql(&self, node: &str, sql: &str) -> String {
        let toml = fs::read_to_string(self.home.join(node).join("manada.toml")).expect("a node");
        let value = |key: &str| {
            toml.lines()
                .find_map(|line| line.strip_prefix(&format!("{key} = ")))
                .unwrap_or_else(|| panic!("no {key} in {toml}"))
                .trim_matches('"')
                .to_owned()
        };
        let output = Command::new("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-h", &value("socket_directory"), "-p", &value("port")])
            .args(["-d", "postgres", "-c", sql])
            .output()
            .expect("psql runs");
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A file that was closed to everybody can't be removed with the rest.
        fs::set_permissions(self.scratch.path(), fs::Permissions::from_mode(0o755)).ok();
    }
}

//! Servers with names, and what doctor says of them.

use std::fs;
use std::ops::Index;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use manada_doctor::facts::{Herd, Limits, Target, gather};
use manada_doctor::{Finding, Report, RuleId, Step, Value, examine, find};
use manada_postgres::Conninfo;
use manada_postgres::conninfo::Environment;
use manada_testbed::{Outcome, PATIENCE, Programs, TestServer, poll_until};

/// A herd under test.
pub(crate) struct Bench {
    servers: Vec<(String, TestServer)>,
    /// Addresses that doctor is told of beside the servers.
    pub(crate) strangers: Vec<(String, String)>,
    /// What counts as old, large or soon in this test.
    pub(crate) limits: Limits,
}

/// A sound herd that many tests use, one at a time; started by the first, gone with the last.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Place>>);

/// Where the shared herd is kept.
#[derive(Default)]
struct Place {
    bench: Option<Bench>,
    /// How often one was made.
    made: u32,
}

/// A herd that was left unsound is made anew; when that happens again and again, something else
/// is wrong, and each test would only wait for it.
const MADE_MAX: u32 = 6;

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared(Arc::default())
    }

    /// Runs `test`, which leaves the herd sound. Where it panics, the next one gets a new herd.
    pub(crate) fn with(&self, test: impl FnOnce(&mut Bench)) -> Outcome {
        let mut place = self.0.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            self.0.clear_poison();
            let mut place = poisoned.into_inner();
            place.bench = None;
            place
        });
        if place.bench.is_none() {
            let programs = Programs::any()?;
            assert!(place.made < MADE_MAX, "the shared herd was lost too often");
            place.made += 1;
            place.bench = Some(Bench::sound(&programs));
        }
        test(place.bench.as_mut().expect("it was just made"));
        Ok(())
    }
}

impl Bench {
    /// One server.
    pub(crate) fn of(name: &str, server: TestServer) -> Bench {
        Bench {
            servers: vec![(name.to_owned(), server)],
            strangers: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// The same with one more.
    pub(crate) fn and(mut self, name: &str, server: TestServer) -> Bench {
        self.servers.push((name.to_owned(), server));
        self
    }

    /// A primary `p` and its standby `s1`, stock but for `settings`.
    pub(crate) fn pair(programs: &Programs, settings: &[(&str, &str)]) -> Bench {
        let options = settings
            .iter()
            .fold(TestServer::with(programs), |options, (name, value)| {
                options.setting(name, value)
            });
        let primary = options.start();
        let standby = TestServer::with(programs).start_standby_of(&primary, "s1");
        Bench::of("p", primary).and("s1", standby)
    }

    /// A herd without a mistake: a primary `p`, and `s1` and `s2` that follow it.
    pub(crate) fn sound(programs: &Programs) -> Bench {
        let primary = TestServer::with(programs)
            .tls()
            .setting("wal_level", "logical")
            .setting("max_slot_wal_keep_size", "1GB")
            .setting("max_prepared_transactions", 5)
            .setting("archive_mode", "on")
            .setting("archive_command", "")
            .setting("include_if_exists", "manada.conf")
            .access_rule("hostssl replication replicator 127.0.0.1/32 scram-sha-256")
            .start();
        let archive = primary.directory().join("archive");
        make_directory(&archive, &primary);
        primary.set("archive_command", &archive_command(&archive));
        let managed = "# The settings of the herd.\nwork_mem = '5MB'\n";
        write_for(&primary, &primary.data().join("manada.conf"), managed);
        primary.query("CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'reader'");
        let passfile = primary.directory().join("replicator.pass");
        write_for(&primary, &passfile, "*:*:*:replicator:reader\n");
        let standby = |name: &str| {
            TestServer::with(programs)
                .tls()
                .setting("archive_mode", "off")
                .setting("primary_conninfo", conninfo(&primary, name))
                .start_standby_of(&primary, name)
        };
        let (s1, s2) = (standby("s1"), standby("s2"));
        primary.wait_for(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
            "2",
        );
        primary.set("synchronous_standby_names", "ANY 1 (s1, s2)");
        primary.query("SELECT pg_switch_wal()");
        primary.wait_for("SELECT archived_count > 0 FROM pg_stat_archiver", "t");
        Bench::of("p", primary).and("s1", s1).and("s2", s2)
    }

    /// What doctor knows of it now, asking as `user`.
    pub(crate) fn facts_as(&self, user: Option<(&str, &str)>) -> Herd {
        let targets = self
            .servers
            .iter()
            .map(|(name, server)| (name, server.uri()));
        let strangers = self.strangers.iter().map(|(name, uri)| (name, uri.clone()));
        let targets: Vec<Target> = targets
            .chain(strangers)
            .map(|(name, uri)| {
                let parsed = Conninfo::parse(&uri, &Environment::default());
                let mut conninfo = parsed.expect("a URI of the test bed");
                conninfo.connect_timeout = PATIENCE;
                if let Some((user, password)) = user {
                    conninfo.user = user.to_owned();
                    conninfo.password = Some(manada_postgres::Secret::new(password));
                }
                Target {
                    name: name.clone(),
                    conninfo,
                    peer: None,
                }
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let mut herd = runtime.block_on(gather(&targets));
        herd.limits = self.limits.clone();
        herd
    }

    /// What doctor knows of it now.
    pub(crate) fn facts(&self) -> Herd {
        self.facts_as(None)
    }

    /// What one rule says now.
    pub(crate) fn report(&self, number: u16) -> Report {
        let rule = find(RuleId(number)).expect("the rule is registered");
        examine(&self.facts(), [rule])
    }

    /// Waits until a rule has something to say.
    #[track_caller]
    pub(crate) fn found(&self, number: u16) -> Vec<Finding> {
        self.found_with(number, &[])
    }

    /// Waits until a rule has something to say, with this evidence: a reload takes its time.
    #[track_caller]
    pub(crate) fn found_with(&self, number: u16, seen: &[(String, Value)]) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut last = String::new();
        let came = poll_until(PATIENCE, || {
            let report = self.report(number);
            last = format!("{report:#?}");
            found = report.findings;
            let has = |(name, value): &(String, Value)| {
                found
                    .iter()
                    .any(|finding| finding.value(name) == Some(value))
            };
            !found.is_empty() && seen.iter().all(has)
        });
        assert!(
            came,
            "MND{number:03} does not find what was planted, with {seen:?}: {last}"
        );
        found
    }

    /// Waits until a rule was checked and has nothing more to say.
    #[track_caller]
    pub(crate) fn silent(&self, number: u16) {
        let mut last = Vec::new();
        let came = poll_until(PATIENCE, || {
            let report = self.report(number);
            last = report.findings;
            last.is_empty() && !report.checked.is_empty()
        });
        assert!(came, "MND{number:03} still finds {last:#?}");
    }

    /// Does what a fix says: SQL, lines of files, restarts. What it leaves to a person is left.
    pub(crate) fn apply(&self, fix: &[Step]) {
        for step in fix {
            match step {
                Step::Sql { on, text } => {
                    self[on.as_str()].query(text);
                }
                Step::Line { file, text, .. } => replace_line(file, text),
                Step::Shell { on, text } if text.starts_with("pg_ctl") => {
                    self[on.as_str()].restart();
                }
                Step::Shell { .. } | Step::Do { .. } => {}
            }
        }
    }
}

impl Index<&str> for Bench {
    type Output = TestServer;

    fn index(&self, name: &str) -> &TestServer {
        let found = self.servers.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no server {name}")).1
    }
}

/// What lets a standby of the sound herd in, with its password in a file.
pub(crate) fn conninfo(primary: &TestServer, name: &str) -> String {
    format!(
        "host=127.0.0.1 port={} user=replicator passfile='{}' sslmode=require \
         application_name={name}",
        primary.port(),
        primary.directory().join("replicator.pass").display()
    )
}

/// Archives into a directory: once, and only when the copy is on disk.
pub(crate) fn archive_command(directory: &Path) -> String {
    let to = directory.display();
    format!(
        "test ! -f {to}/%f && cp %p {to}/%f.part && sync {to}/%f.part && mv {to}/%f.part {to}/%f"
    )
}

/// Writes a file that the server's user alone may read.
pub(crate) fn write_for(server: &TestServer, path: &Path, text: &str) {
    fs::write(path, text).expect("the directory is ours");
    let owner = fs::metadata(server.data()).expect("the server has data");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    chown(path, Some(owner.uid()), Some(owner.gid())).expect("root, or the same user");
}

/// Makes a directory that the server's user may write in.
pub(crate) fn make_directory(path: &Path, server: &TestServer) {
    fs::create_dir_all(path).expect("the directory is ours");
    let owner = fs::metadata(server.data()).expect("the server has data");
    chown(path, Some(owner.uid()), Some(owner.gid())).expect("root, or the same user");
}

/// Puts `text` in the place of a line named as "FILE, line N".
fn replace_line(place: &str, text: &str) {
    let (file, line) = place.rsplit_once(", line ").expect("a file and a line");
    let index = line.parse::<usize>().expect("a number") - 1;
    let content = fs::read_to_string(file).expect("the file can be read");
    let mut lines: Vec<&str> = content.lines().collect();
    lines[index] = text;
    fs::write(file, lines.join("\n") + "\n").expect("the file is ours");
}

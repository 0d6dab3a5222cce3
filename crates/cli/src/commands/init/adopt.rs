//! `manada init --adopt`: a running server becomes the primary of a new herd.

use std::fmt::Write as _;
use std::path::PathBuf;

use manada_herd::adopt::{Change, OverriddenBy, Unfit};
use manada_herd::create::archive_directory;
use manada_herd::{AdoptError, AdoptPlan, Adopted, Adoption, Home, Node};
use manada_postgres::settings::Setting;
use serde_json::{Value, json};

use super::{InitArgs, own_program, psql};
use crate::commands::token::TokenReport;
use crate::error::{Failure, Outcome};
use crate::ui::{Format, Ui, accent, paint};
use crate::{block_on, this_host};

pub(super) fn run(args: InitArgs, data_directory: PathBuf, ui: Ui) -> Result<Outcome, Failure> {
    let (dry_run, restart) = (args.dry_run, args.restart);
    let adoption = adoption(args, data_directory)?;
    block_on(async {
        let plan = AdoptPlan::make(&adoption).await.map_err(failure)?;
        let planned = PlanReport::of(&plan);
        if dry_run || plan.is_done() {
            planned.print(ui, dry_run);
            return Ok(Outcome::Done);
        }
        if ui.format() == Format::Text {
            ui.note(planned.text(false));
        }
        let adopted = plan.run(restart).await.map_err(failure)?;
        report(&adopted, &planned, ui);
        Ok(Outcome::Done)
    })
}

fn adoption(args: InitArgs, data_directory: PathBuf) -> Result<Adoption, Failure> {
    let name = args.name.unwrap_or_else(this_host::node_name);
    let home = match &args.home {
        Some(path) => Home::at(path),
        None => Home::of(&args.herd, &name),
    }
    .map_err(Failure::usage)?;
    // A second run without --address means the same as the first.
    let before = Node::open(home.clone()).ok();
    let addresses = match (args.addresses, before) {
        (given, _) if !given.is_empty() => given,
        (_, Some(before)) => before.file.addresses,
        (_, None) => vec![this_host::address()?],
    };
    Ok(Adoption {
        home,
        herd: args.herd,
        name,
        addresses,
        data_directory,
        archive_directory: args
            .archive
            .as_deref()
            .map(archive_directory)
            .transpose()
            .map_err(Failure::usage)?,
        replace_certificate: args.replace_certificate,
        manada: own_program()?,
    })
}

/// A plan as it is shown.
struct PlanReport {
    server: String,
    node: String,
    changes: Vec<Change>,
    waiting: Vec<Setting>,
}

impl PlanReport {
    fn of(plan: &AdoptPlan) -> PlanReport {
        let node = plan.node();
        PlanReport {
            server: format!(
                "PostgreSQL {} on {}, port {}",
                plan.version,
                node.file.data_directory.display(),
                node.file.port
            ),
            node: format!("{} of the herd {}", node.file.name, node.file.herd),
            changes: plan.changes.clone(),
            waiting: plan.waiting_for_restart.clone(),
        }
    }

    fn print(&self, ui: Ui, dry_run: bool) {
        match ui.format() {
            Format::Json => ui.json(&self.json()),
            Format::Text => ui.text(self.text(dry_run)),
        }
    }

    fn json(&self) -> Value {
        json!({
            "format": "manada.adopt_plan/1",
            "changes": self.changes.iter().map(change_json).collect::<Vec<_>>(),
            "waiting_for_restart": self.waiting.iter().map(setting_json).collect::<Vec<_>>(),
        })
    }

    fn text(&self, dry_run: bool) -> String {
        let mut text = format!("{}\n", paint(accent::STRONG, &self.server));
        if self.changes.is_empty() {
            let _ = writeln!(
                text,
                "is the node {} already: nothing to change.",
                self.node
            );
        } else {
            let would = if dry_run { "would become" } else { "becomes" };
            let _ = writeln!(text, "{would} the node {}. What changes:", self.node);
        }
        for change in &self.changes {
            text += &change_text(change);
        }
        text += &waiting_text(&self.waiting);
        if dry_run {
            text += "Nothing was changed.\n";
        }
        text
    }
}

fn change_text(change: &Change) -> String {
    match change {
        Change::Home { path } => format!(
            "  new file    {}/: keys, certificates, passwords\n",
            path.display()
        ),
        Change::Role { name } => format!("  new role    {name}\n"),
        Change::Schema => {
            "  new schema  manada, in the database postgres: the members, and the door for newcomers\n"
                .to_owned()
        }
        Change::AccessRules { path, block } => {
            let mut text = format!("  rules       {}: at its top\n", path.display());
            for rule in block.lines().filter(|line| !line.starts_with('#')) {
                let _ = writeln!(text, "                {rule}");
            }
            text
        }
        Change::Setting {
            name,
            old,
            new,
            reason,
            restart,
        } => {
            let restart = if *restart { "  (needs a restart)" } else { "" };
            let old = if old.is_empty() { "''" } else { old };
            format!("  setting     {name}: {old} -> {new}{restart}\n                {reason}\n")
        }
        Change::Include { path } => format!(
            "  include     {}: a last line that includes manada.conf\n",
            path.display()
        ),
    }
}

fn change_json(change: &Change) -> Value {
    match change {
        Change::Home { path } => json!({"change": "home", "path": path}),
        Change::Role { name } => json!({"change": "role", "name": name}),
        Change::Schema => json!({"change": "schema"}),
        Change::AccessRules { path, block } => {
            json!({"change": "access_rules", "path": path, "block": block})
        }
        Change::Setting {
            name,
            old,
            new,
            reason,
            restart,
        } => json!({
            "change": "setting", "name": name, "old": old, "new": new, "reason": reason,
            "restart": restart,
        }),
        Change::Include { path } => json!({"change": "include", "path": path}),
    }
}

fn setting_json(setting: &Setting) -> Value {
    json!({"name": setting.name, "value": setting.value, "reason": setting.reason})
}

fn waiting_text(waiting: &[Setting]) -> String {
    if waiting.is_empty() {
        return String::new();
    }
    let mut text = "In force only after a restart:\n".to_owned();
    for Setting {
        name,
        value,
        reason,
    } in waiting
    {
        let _ = writeln!(text, "  {name} = {value}\n                {reason}");
    }
    text
}

fn report(adopted: &Adopted, planned: &PlanReport, ui: Ui) {
    let node = &adopted.node;
    let token = adopted.token.as_ref().map(TokenReport::of);
    match ui.format() {
        Format::Json => ui.json(&json!({
            "format": "manada.adopt/1",
            "herd": node.file.herd,
            "node": node.file.name,
            "addresses": node.file.addresses,
            "port": node.file.port,
            "home": node.home.path(),
            "settings_file": node.file.settings_file(),
            "changes": planned.changes.iter().map(change_json).collect::<Vec<_>>(),
            "waiting_for_restart":
                adopted.waiting_for_restart.iter().map(setting_json).collect::<Vec<_>>(),
            "token": token.as_ref().map(|token| &token.token),
            "token_expires_at": token.as_ref().map(|token| token.expires_at),
        })),
        Format::Text => {
            let mut text = format!(
                "{} is the primary of the herd {} at {}\n  psql      {}\n",
                paint(accent::STRONG, &node.file.name),
                paint(accent::STRONG, &node.file.herd),
                node.endpoint(),
                psql(node)
            );
            text += &waiting_text(&adopted.waiting_for_restart);
            if !adopted.waiting_for_restart.is_empty() {
                let _ = writeln!(
                    text,
                    "next: {}",
                    paint(
                        accent::TYPE,
                        format!("manada init --adopt {} --restart", planned_directory(node))
                    )
                );
            }
            if let Some(token) = token {
                let _ = write!(text, "\n{}", token.text());
            }
            ui.text(text);
        }
    }
}

fn planned_directory(node: &Node) -> String {
    format!(
        "{} --herd {} --name {}",
        node.file.data_directory.display(),
        node.file.herd,
        node.file.name
    )
}

fn failure(error: AdoptError) -> Failure {
    let what = "the server was not adopted";
    let refused = || Failure::refused(what).because(&error);
    match &error {
        AdoptError::NotRunning { data_directory } => refused().next(format!(
            "start it (Debian: pg_ctlcluster VERSION CLUSTER start), or make a new server of an absent directory: manada init without --adopt {}",
            data_directory.display()
        )),
        AdoptError::NoWayIn { user, .. } => refused().next(format!(
            "let it in: a line 'local all postgres peer' in pg_hba.conf, and run this as {user} or as root"
        )),
        AdoptError::Unfit(unfit) => match unfit {
            Unfit::ForeignCertificate { .. } => refused()
                .next("if nothing depends on it, add --replace-certificate")
                .next("clients that verify the server's certificate will then need the herd's authority"),
            Unfit::Overridden { name, by, .. } => match by {
                OverriddenBy::AlterSystem => refused().next(format!(
                    "as superuser: ALTER SYSTEM RESET {name}; SELECT pg_reload_conf();"
                )),
                OverriddenBy::CommandLine => {
                    refused().next("take it from the server's command line, and restart the server")
                }
            },
            Unfit::ArchiveInUse { .. } => {
                refused().next("leave out --archive: the server goes on archiving as it does")
            }
            Unfit::NameInUse { name, .. } => {
                refused().next(format!("rename it, if it may be renamed: {name}"))
            }
            Unfit::Standby => refused().next("manada init --adopt, on the primary's host"),
            Unfit::Version(_) | Unfit::NoSuperuser { .. } => refused(),
        },
        AdoptError::HomeTaken { .. } => refused().next("give another --name or --home"),
        AdoptError::User(_) | AdoptError::Home(_) | AdoptError::Archive(_) => refused(),
        AdoptError::Restart(_) => Failure::failed("the server did not restart")
            .because(&error)
            .next("all else is done; see its log, and run this again"),
        AdoptError::Running(_)
        | AdoptError::Sql { .. }
        | AdoptError::Identity(_)
        | AdoptError::Files(_)
        | AdoptError::Settings(_)
        | AdoptError::Write(_)
        | AdoptError::Unquotable(_)
        | AdoptError::SetUp(_)
        | AdoptError::Mistakes { .. }
        | AdoptError::NotInForce { .. }
        | AdoptError::NodeFile(_)
        | AdoptError::Token(_) => Failure::failed(what)
            .because(&error)
            .next("when the cause is gone, run it again: it does what is left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_lists_each_change_with_its_reason() {
        let setting = |name: &str, value: &str, reason: &str| Setting::new(name, value, reason);
        let plan = PlanReport {
            server: "PostgreSQL 15.18 on /var/lib/postgresql/15/main, port 5432".to_owned(),
            node: "db1 of the herd main".to_owned(),
            changes: vec![
                Change::Home {
                    path: "/var/lib/manada/main/db1".into(),
                },
                Change::Role {
                    name: "replicator".to_owned(),
                },
                Change::Schema,
                Change::AccessRules {
                    path: "/etc/postgresql/15/main/pg_hba.conf".into(),
                    block: "# manada: begin\n# Node db1 follows.\nhostssl replication \"replicator\" 10.0.0.1/32 scram-sha-256\n# manada: end\n".to_owned(),
                },
                Change::Setting {
                    name: "listen_addresses".to_owned(),
                    old: "localhost".to_owned(),
                    new: "localhost, 10.0.0.1".to_owned(),
                    reason: "Where the other nodes reach this one.".to_owned(),
                    restart: true,
                },
                Change::Include {
                    path: "/etc/postgresql/15/main/postgresql.conf".into(),
                },
            ],
            waiting: vec![setting(
                "listen_addresses",
                "localhost, 10.0.0.1",
                "Where the other nodes reach this one.",
            )],
        };
        let plain = anstream::adapter::strip_str(&plan.text(true)).to_string();
        insta::assert_snapshot!(plain);
    }
}

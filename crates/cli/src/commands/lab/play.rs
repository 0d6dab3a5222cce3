//! Plays the practice from its first step to its last, and leaves the lab as was asked.

use std::time::{Duration, Instant};

use manada_model::TimelineId;
use manada_postgres::os_user::OsUser;

use super::PlayArgs;
use super::account::Account;
use super::archive;
use super::build::{self, Builder};
use super::demonstrate::Herd;
use super::earlier;
use super::home::{End, LabHome};
use super::lab_directory;
use super::picture;
use super::ports::Ports;
use super::protect;
use super::report::{Facts, Report};
use super::screen::Screen;
use super::synchronous;
use super::tether::Tether;
use super::texts::{Texts, texts};
use crate::error::{Failure, Outcome};
use crate::ui::{Format, Ui};

/// Plays the practice.
pub(crate) async fn play(args: PlayArgs, ui: Ui) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let language = args.place.language();
    let texts = texts(language);
    let mut screen = Screen::new(ui, texts);
    screen.heading();

    let home = LabHome::make(&lab_directory(&args.place)?)?;
    let mut home = earlier::make_way(home, &screen, texts).await?;
    let mut marker = home.begin()?;
    let tether = Tether::tie(&home, args.rm)?;

    let stage = Stage {
        args: &args,
        home: &home,
        ui,
        texts,
        begun,
    };
    let played = stage.practice(tether, &mut screen).await?;
    let Played {
        herd,
        tether,
        end,
        machine_work,
    } = played;
    let report = Report::new(
        &herd,
        Facts {
            language,
            home: home.path(),
            kept: !args.rm,
            protected: args.protect,
            steps: screen.steps(),
            machine_work,
            total: begun.elapsed(),
        },
    );
    drop(herd.session);
    if args.rm {
        tether.stop()?;
    } else {
        // Before the tether lets go: killed between the two, the servers are stopped and the lab
        // is known to be whole.
        marker.end = Some(end);
        home.mark(&marker)?;
        tether.keep().map_err(|error| {
            Failure::failed("the lab's servers could not be kept").because(error)
        })?;
    }
    match ui.format() {
        Format::Json => ui.json(&report),
        Format::Text => ui.text(report.text(texts, &args.place)),
    }
    if args.rm {
        let path = home.path().to_path_buf();
        if path.exists() {
            home.remove()?;
        }
        screen.say(texts.removed(&path));
    }
    Ok(Outcome::Done)
}

/// What the practice is played with.
struct Stage<'a> {
    args: &'a PlayArgs,
    home: &'a LabHome,
    ui: Ui,
    texts: &'static dyn Texts,
    begun: Instant,
}

/// What the practice leaves.
struct Played {
    herd: Herd,
    tether: Tether,
    end: End,
    machine_work: Duration,
}

impl Stage<'_> {
    async fn practice(&self, mut tether: Tether, screen: &mut Screen) -> Result<Played, Failure> {
        let user = OsUser::for_new_server()
            .map_err(|error| Failure::failed("nobody can run the servers").because(error))?;
        let wanted = self.args.pg.clone().unwrap_or_default();
        let programs = build::programs(&wanted, &user, self.ui, screen, self.texts).await?;
        tether.wait_until_it_watches()?;

        let account = Account::new(self.home)?;
        let builder = Builder {
            texts: self.texts,
            ui: self.ui,
            home: self.home,
            programs,
            user,
            ports: Ports::new(),
        };
        let (primary, admin, token) = builder.primary(&account, screen).await?;
        let standbys = builder
            .standbys(&primary, &token, self.args.standbys(), &account, screen)
            .await?;
        let session = primary.session(&account).await?;
        let herd = Herd {
            primary,
            standbys,
            account,
            session,
        };
        herd.show_read(screen, self.texts).await?;
        herd.show_refusal(screen, self.texts).await?;
        herd.show_asynchronous(screen, self.texts).await?;
        synchronous::switch(&herd, &admin, screen, self.texts).await?;
        let machine_work = self.begun.elapsed() - demonstrations(screen);
        herd.show_wait(screen, self.texts).await?;
        archive::show(&herd, &admin, self.home, screen, self.texts).await?;
        picture::show(&herd, screen, self.texts).await?;
        let herd = if self.args.protect {
            // A superuser's session would hold up nobody, and has nothing to say any more.
            drop(admin);
            protect::show(herd, self.home, &builder.ports, screen, self.texts).await?
        } else {
            herd
        };

        let end = End {
            system_identifier: herd.primary.node.file.system_identifier,
            timeline: timeline(&herd).await?,
            next_transaction_id: next_transaction_id(&herd).await?,
        };
        Ok(Played {
            herd,
            tether,
            end,
            machine_work,
        })
    }
}

/// The time spent so far on showing what no script would do.
fn demonstrations(screen: &Screen) -> Duration {
    let steps = screen.steps().iter();
    steps
        .filter(|step| !step.machine_work)
        .map(|step| step.duration)
        .sum()
}

/// The primary's timeline.
async fn timeline(herd: &Herd) -> Result<TimelineId, Failure> {
    let query = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";
    let said = herd.look(query).await?.unwrap_or_default();
    said.parse()
        .map(TimelineId)
        .map_err(|_| herd.primary.failure("gave no timeline", said))
}

/// The primary's next transaction id, as its control file will have it when it is shut down.
async fn next_transaction_id(herd: &Herd) -> Result<u64, Failure> {
    let query = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    let said = herd.look(query).await?.unwrap_or_default();
    said.parse()
        .map_err(|_| herd.primary.failure("gave no transaction id", said))
}

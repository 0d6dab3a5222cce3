//! From `--pg` to server programs that run, with a bar while they are fetched.

use manada_postgres::os_user::OsUser;
use manada_postgres::programs::{Cache, FetchStep, ServerPrograms, Wanted, obtain};

use crate::error::Failure;
use crate::ui::Ui;

/// Finds the programs on this machine, or fetches them into the cache.
pub(crate) fn find_or_fetch(wanted: &Wanted, ui: Ui) -> Result<ServerPrograms, Failure> {
    let user = OsUser::for_new_server().map_err(Failure::failed)?;
    let cache = Cache::of_this_user().map_err(Failure::failed)?;
    let mut bar = None;
    let outcome = obtain(wanted, &user, &cache, &mut |step| match step {
        FetchStep::WaitingForAnother => {
            ui.note("another manada is fetching PostgreSQL: waiting for it");
        }
        FetchStep::Downloading {
            artefact,
            bytes_done,
        } => {
            let bar =
                bar.get_or_insert_with(|| ui.bytes_bar(artefact.bytes, "fetching PostgreSQL"));
            bar.set_position(bytes_done);
        }
        FetchStep::Unpacking { .. } => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        }
    });
    outcome.map_err(|error| {
        Failure::failed(format!("no server programs for {wanted}"))
            .because(error)
            .next("give the directory of installed ones: --pg /usr/lib/postgresql/17/bin")
    })
}

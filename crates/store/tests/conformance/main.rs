//! What every engine promises, asked of SQLite and of real etcd servers.

mod etcd;
mod faults;
mod samples;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use manada_core::record::Revision;
use manada_store::{Access, Change, Renewal, Snapshot, Store, StoreLocation, Swap, Watch};
use manada_testbed::{Outcome, Scratch, trials};
use tokio::time::timeout;

use etcd::Etcd;
use faults::{
    a_cluster_serves_on_when_a_member_is_killed,
    a_deleted_file_is_made_anew_and_a_restored_one_read, a_hostile_answer_is_bounded,
    a_locked_file_is_given_up_in_time, a_login_is_used_and_renewed,
    a_paused_etcd_is_given_up_in_time_and_used_again_at_once, a_paused_member_is_passed_by,
    a_refused_login_is_told, a_silent_watch_goes_on_elsewhere,
    etcds_leader_is_moved_off_the_own_host, etcds_leader_stays_where_no_other_can_lead,
    tls_wants_the_right_authority, two_agents_may_make_the_file_at_once,
};
use samples::{contact, herd, lease, record, run};

trials![
    a_record_is_created_once_in_sqlite,
    a_record_is_created_once_in_etcd,
    one_swap_wins_per_revision_in_sqlite,
    one_swap_wins_per_revision_in_etcd,
    a_lease_is_refused_after_the_epoch_changed_in_sqlite,
    a_lease_is_refused_after_the_epoch_changed_in_etcd,
    contacts_are_kept_by_name_in_sqlite,
    contacts_are_kept_by_name_in_etcd,
    a_watch_tells_what_is_there_and_what_changes_in_sqlite,
    a_watch_tells_what_is_there_and_what_changes_in_etcd,
    herds_do_not_see_each_other_in_sqlite,
    herds_do_not_see_each_other_in_etcd,
    a_store_in_a_file_is_private_and_lasts,
    a_foreign_file_is_refused,
    two_agents_may_make_the_file_at_once,
    a_deleted_file_is_made_anew_and_a_restored_one_read,
    a_locked_file_is_given_up_in_time,
    a_cluster_keeps_the_promises_of_one,
    a_paused_etcd_is_given_up_in_time_and_used_again_at_once,
    a_paused_member_is_passed_by,
    a_cluster_serves_on_when_a_member_is_killed,
    etcds_leader_is_moved_off_the_own_host,
    etcds_leader_stays_where_no_other_can_lead,
    a_silent_watch_goes_on_elsewhere,
    a_login_is_used_and_renewed,
    a_refused_login_is_told,
    tls_wants_the_right_authority,
    a_hostile_answer_is_bounded,
];

/// Where a test's store is, and what must last as long.
struct Place {
    location: StoreLocation,
    access: Access,
    _etcd: Option<Etcd>,
    _scratch: Scratch,
}

impl Place {
    fn sqlite() -> Place {
        let scratch = Scratch::new();
        let path = scratch.path().join("store.db");
        Place {
            location: StoreLocation::Sqlite(path),
            access: Access::default(),
            _etcd: None,
            _scratch: scratch,
        }
    }

    fn etcd() -> Result<Place, manada_testbed::Missing> {
        Ok(Place::of(Etcd::single()?))
    }

    fn of(etcd: Etcd) -> Place {
        let place = Place {
            location: etcd.location(),
            access: etcd.access(),
            _etcd: Some(etcd),
            _scratch: Scratch::new(),
        };
        run(async { faults::until_it_answers(&place.open().await).await });
        place
    }

    /// A handle as another agent has it.
    async fn open(&self) -> Store {
        Store::open(&self.location, &herd(), &self.access)
            .await
            .expect("the store opens")
    }
}

macro_rules! on_both_engines {
    ($($promise:ident => $in_sqlite:ident, $in_etcd:ident;)*) => {
        $(
            fn $in_sqlite() -> Outcome {
                let place = Place::sqlite();
                run($promise(&place));
                Ok(())
            }

            fn $in_etcd() -> Outcome {
                let place = Place::etcd()?;
                run($promise(&place));
                Ok(())
            }
        )*
    };
}

on_both_engines! {
    a_record_is_created_once =>
        a_record_is_created_once_in_sqlite, a_record_is_created_once_in_etcd;
    one_swap_wins_per_revision =>
        one_swap_wins_per_revision_in_sqlite, one_swap_wins_per_revision_in_etcd;
    a_lease_is_refused_after_the_epoch_changed =>
        a_lease_is_refused_after_the_epoch_changed_in_sqlite,
        a_lease_is_refused_after_the_epoch_changed_in_etcd;
    contacts_are_kept_by_name =>
        contacts_are_kept_by_name_in_sqlite, contacts_are_kept_by_name_in_etcd;
    a_watch_tells_what_is_there_and_what_changes =>
        a_watch_tells_what_is_there_and_what_changes_in_sqlite,
        a_watch_tells_what_is_there_and_what_changes_in_etcd;
    herds_do_not_see_each_other =>
        herds_do_not_see_each_other_in_sqlite, herds_do_not_see_each_other_in_etcd;
}

fn a_cluster_keeps_the_promises_of_one() -> Outcome {
    let place = Place::of(Etcd::cluster()?);
    run(one_swap_wins_per_revision(&place));
    Ok(())
}

async fn a_record_is_created_once(place: &Place) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!(one.read().await.expect("read"), Snapshot::default());
    let first = record(1);
    let Swap::Swapped {
        record: created, ..
    } = one.create(&first).await.expect("created")
    else {
        panic!("there was no record");
    };
    assert_eq!(created.value, first);
    let again = other.create(&record(2)).await.expect("asked");
    assert_eq!(again, Swap::Conflict(Some(created.clone())));
    assert_eq!(other.read().await.expect("read").record, Some(created));
    // A revision that never was, on a herd that has no record.
    let other = "other".parse().expect("a name");
    let empty = Store::open(&place.location, &other, &place.access).await;
    let empty = empty.expect("opened");
    let swapped = empty.swap(Revision(7), &first).await.expect("asked");
    assert_eq!(swapped, Swap::Conflict(None));
    let renewed = empty.renew(Revision(7), &lease(1, 1)).await.expect("asked");
    assert_eq!(renewed, Renewal::Conflict(None));
}

async fn one_swap_wins_per_revision(place: &Place) {
    const AGENTS: u64 = 6;
    const SWAPS: usize = 10;
    let store = place.open().await;
    let created = store.create(&record(0)).await.expect("created");
    assert!(matches!(created, Swap::Swapped { .. }));
    let mut agents = tokio::task::JoinSet::new();
    for agent in 1..=AGENTS {
        let store = place.open().await;
        agents.spawn(async move {
            let mut won = Vec::new();
            while won.len() < SWAPS {
                let Ok(snapshot) = store.read().await else {
                    continue;
                };
                let current = snapshot.record.expect("there is one");
                let mut next = current.value.clone();
                next.epoch.0 = current.value.epoch.0 + agent;
                match store.swap(current.revision, &next).await {
                    Ok(Swap::Swapped { record: new, .. }) => {
                        assert!(new.revision > current.revision);
                        won.push((current.revision, agent));
                    }
                    Ok(Swap::Conflict(Some(found))) => assert!(found.revision > current.revision),
                    Ok(Swap::Conflict(None)) => panic!("the record is gone"),
                    // A file that others keep locked for too long has not been changed.
                    Err(error) => {
                        assert_eq!(error.effect, manada_store::Effect::NotDone, "{error:?}");
                    }
                }
            }
            won
        });
    }
    let won = agents.join_all().await.concat();
    let revisions: BTreeSet<Revision> = won.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions.len(), won.len(), "one revision was swapped twice");
    // Each winner added its own number: none has overwritten another's.
    let sum: u64 = won.iter().map(|(_, agent)| agent).sum();
    let last = store.read().await.expect("read").record.expect("there");
    assert_eq!(last.value.epoch.0, sum);
}

async fn a_lease_is_refused_after_the_epoch_changed(place: &Place) {
    let (leader, candidate) = (place.open().await, place.open().await);
    let Swap::Swapped { record: reign, .. } = leader.create(&record(1)).await.expect("created")
    else {
        panic!("there was no record");
    };
    for beat in 1..=3 {
        let renewed = leader.renew(reign.revision, &lease(1, beat)).await;
        assert_eq!(renewed.expect("asked"), Renewal::Renewed);
    }
    assert_eq!(leader.read().await.expect("read").lease, Some(lease(1, 3)));
    let swapped = candidate.swap(reign.revision, &record(2)).await;
    let Swap::Swapped {
        record: next,
        lease: last,
    } = swapped.expect("asked")
    else {
        panic!("nobody else has changed the record");
    };
    assert_eq!(last, Some(lease(1, 3)));
    let refused = leader.renew(reign.revision, &lease(1, 4)).await;
    assert_eq!(refused.expect("asked"), Renewal::Conflict(Some(next)));
    assert_eq!(leader.read().await.expect("read").lease, Some(lease(1, 3)));
}

async fn contacts_are_kept_by_name(place: &Place) {
    let store = place.open().await;
    for (name, port) in [("n1", 1), ("n2", 2), ("n1", 3)] {
        let contact = contact(name, port);
        store.register(&contact).await.expect("registered");
    }
    let book = store.read().await.expect("read").book;
    let kept: Vec<_> = book.into_values().collect();
    assert_eq!(kept, [contact("n1", 3), contact("n2", 2)]);
    let name = "n1".parse().expect("a name");
    store.unregister(&name).await.expect("taken out");
    let book = store.read().await.expect("read").book;
    assert_eq!(book.into_values().collect::<Vec<_>>(), [contact("n2", 2)]);
}

async fn a_watch_tells_what_is_there_and_what_changes(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    other.register(&contact("n1", 1)).await.expect("registered");
    let mut watch = store.watch();
    let Change::Contact(there) = next(&mut watch).await else {
        panic!("the contact is there");
    };
    assert_eq!(there, contact("n1", 1));
    assert!(matches!(next(&mut watch).await, Change::Reachable));

    let Swap::Swapped {
        record: created, ..
    } = other.create(&record(1)).await.expect("created")
    else {
        panic!("there was no record");
    };
    let Change::Record(told) = next(&mut watch).await else {
        panic!("the record has changed");
    };
    assert_eq!(told, created);
    for beat in 1..=3 {
        other
            .renew(created.revision, &lease(1, beat))
            .await
            .expect("renewed");
        let Change::Lease(told) = next(&mut watch).await else {
            panic!("the lease has changed");
        };
        assert_eq!(told, lease(1, beat));
    }
    let name = "n1".parse().expect("a name");
    other.unregister(&name).await.expect("taken out");
    let Change::ContactGone(gone) = next(&mut watch).await else {
        panic!("the contact is gone");
    };
    assert_eq!(gone, name);
}

async fn herds_do_not_see_each_other(place: &Place) {
    let store = place.open().await;
    // The names begin alike.
    let longer = format!("{}_2", herd()).parse().expect("a name");
    let other = Store::open(&place.location, &longer, &place.access).await;
    let other = other.expect("opened");
    store.create(&record(1)).await.expect("created");
    store.register(&contact("n1", 1)).await.expect("registered");
    assert_eq!(other.read().await.expect("read"), Snapshot::default());
    let created = other.create(&record(5)).await.expect("created");
    assert!(matches!(created, Swap::Swapped { .. }));
    let own = store.read().await.expect("read").record.expect("there");
    assert_eq!(own.value, record(1));
}

fn a_store_in_a_file_is_private_and_lasts() -> Outcome {
    let place = Place::sqlite();
    let StoreLocation::Sqlite(path) = &place.location else {
        panic!("it is a file");
    };
    run(async {
        let store = place.open().await;
        store.create(&record(3)).await.expect("created");
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            let mode = std::fs::metadata(&file)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file:?}");
        }
    });
    run(async {
        let kept = place.open().await.read().await.expect("read").record;
        assert_eq!(kept.expect("there").value, record(3));
    });
    Ok(())
}

fn a_foreign_file_is_refused() -> Outcome {
    let place = Place::sqlite();
    let StoreLocation::Sqlite(path) = &place.location else {
        panic!("it is a file");
    };
    std::fs::write(
        path,
        "no database at all, but something that is dear to somebody",
    )
    .expect("written");
    let opened = run(Store::open(&place.location, &herd(), &place.access));
    assert!(opened.is_err());
    let text = std::fs::read_to_string(path).expect("there");
    assert!(text.starts_with("no database"));
    Ok(())
}

async fn next(watch: &mut Watch) -> Change {
    const TOLD_WITHIN: Duration = Duration::from_secs(10);
    let told = timeout(TOLD_WITHIN, watch.next()).await;
    told.expect("a change is told").expect("the watch goes on")
}

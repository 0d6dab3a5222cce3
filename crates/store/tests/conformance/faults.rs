//! Stores that hang, end, lie or refuse.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use manada_core::record::{Record, Revision};
use manada_store::{
    Access, Cause, Change, Effect, LeaderPlace, Login, OpenError, REQUEST_MAX, Renewal, Store,
    StoreError, StoreLocation, Swap,
};
use manada_testbed::{Outcome, PATIENCE, Scratch};
use serde_json::json;
use tokio::time::timeout;

use crate::etcd::Etcd;
use crate::samples::{contact, herd, lease, record, run};

/// What a test allows a machine under load on top of a request's time.
const LEEWAY: Duration = Duration::from_millis(300);

async fn open(etcd: &Etcd) -> Store {
    open_at(&etcd.location(), &etcd.access()).await
}

async fn open_at(location: &StoreLocation, access: &Access) -> Store {
    Store::open(location, &herd(), access)
        .await
        .expect("the store opens")
}

/// An etcd that was just started first elects a leader.
pub(crate) async fn until_it_answers(store: &Store) {
    let begun = Instant::now();
    while let Err(error) = store.read().await {
        assert!(begun.elapsed() < PATIENCE, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn created(store: &Store) -> manada_core::record::Revision {
    until_it_answers(store).await;
    match store.create(&record(1)).await.expect("created") {
        Swap::Swapped { record, .. } => record.revision,
        Swap::Conflict(found) => panic!("there is {found:?}"),
    }
}

pub(crate) fn a_paused_etcd_is_given_up_in_time_and_used_again_at_once() -> Outcome {
    let etcd = Etcd::single()?;
    run(async {
        let store = open(&etcd).await;
        let revision = created(&store).await;
        etcd.pause(0);
        for beat in 1..=3 {
            let begun = Instant::now();
            let error = store.renew(revision, &lease(1, beat)).await;
            let error = error.expect_err("etcd is paused");
            let took = begun.elapsed();
            assert!(took < REQUEST_MAX + LEEWAY, "{took:?}");
            assert!(matches!(error.cause, Cause::TimedOut), "{error:?}");
            assert_eq!(error.effect, Effect::Unknown);
        }
        let error = store.read().await.expect_err("etcd is paused");
        assert_eq!(error.effect, Effect::NotDone, "a read does nothing");
        etcd.go_on(0);
        let begun = Instant::now();
        let renewed = store.renew(revision, &lease(1, 9)).await;
        assert_eq!(renewed.expect("etcd goes on"), Renewal::Renewed);
        assert!(begun.elapsed() < REQUEST_MAX);
    });
    Ok(())
}

pub(crate) fn a_paused_member_is_passed_by() -> Outcome {
    let etcd = Etcd::cluster()?;
    run(async {
        let store = open(&etcd).await;
        let revision = created(&store).await;
        etcd.pause(0);
        // It may have been the cluster's leader: then the two others elect first.
        let begun = Instant::now();
        let mut beat = 0;
        loop {
            beat += 1;
            match store.renew(revision, &lease(1, beat)).await {
                Ok(renewed) => break assert_eq!(renewed, Renewal::Renewed),
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error:?}"),
            }
        }
        // From here on nobody waits for the paused one any more.
        let begun = Instant::now();
        let renewed = store.renew(revision, &lease(1, beat + 1)).await;
        assert_eq!(renewed.expect("two are enough"), Renewal::Renewed);
        assert!(begun.elapsed() < REQUEST_MAX);
        etcd.go_on(0);
    });
    Ok(())
}

pub(crate) fn etcds_leader_is_moved_off_the_own_host() -> Outcome {
    let etcd = Etcd::cluster()?;
    // All members are on one host here; the first endpoint counts as the own one.
    let own = ["127.0.0.1".parse().expect("an address")];
    run(async {
        until_it_answers(&open(&etcd).await).await;
        let leader = etcd.leader();
        let store = open_at(&etcd.location_from(leader), &etcd.access()).await;
        let revision = created(&store).await;
        let moved = store.keep_leader_off(&own).await;
        assert_eq!(moved.expect("etcd hands over"), LeaderPlace::Moved);
        assert_ne!(etcd.leader(), leader);
        let renewed = store.renew(revision, &lease(1, 1)).await;
        assert_eq!(renewed.expect("another leads"), Renewal::Renewed);
        let moved = store.keep_leader_off(&own).await;
        let elsewhere = moved.expect("etcd answers");
        assert_eq!(elsewhere, LeaderPlace::Settled);
    });
    Ok(())
}

pub(crate) fn etcds_leader_stays_where_no_other_can_lead() -> Outcome {
    let own = ["127.0.0.1".parse().expect("an address")];
    let alone = Etcd::single()?;
    run(async {
        let store = open(&alone).await;
        created(&store).await;
        let place = store.keep_leader_off(&own).await;
        assert_eq!(place.expect("nobody is asked"), LeaderPlace::Settled);
    });
    let etcd = Etcd::cluster()?;
    run(async {
        until_it_answers(&open(&etcd).await).await;
        let leader = etcd.leader();
        let store = open_at(&etcd.location_from(leader), &etcd.access()).await;
        created(&store).await;
        for other in (0..3).filter(|member| *member != leader) {
            etcd.pause(other);
        }
        let place = store.keep_leader_off(&own).await;
        assert_eq!(place.expect("it answers"), LeaderPlace::NoSuccessor);
    });
    Ok(())
}

pub(crate) fn a_deleted_file_is_made_anew_and_a_restored_one_read() -> Outcome {
    let scratch = Scratch::new();
    let path = scratch.path().join("store.db");
    let location = StoreLocation::Sqlite(path.clone());
    run(async {
        let store = open_at(&location, &Access::default()).await;
        let other = open_at(&location, &Access::default()).await;
        let revision = created(&store).await;
        let mut watch = other.watch();
        let mut told = async || timeout(PATIENCE, watch.next()).await.expect("told");
        assert!(matches!(told().await, Some(Change::Record(_))));
        assert!(matches!(told().await, Some(Change::Reachable)));
        let kept = scratch.path().join("kept.db");
        let whole = rusqlite::Connection::open(&path).expect("opened");
        let whole = whole.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        whole.expect("all is in the file");
        std::fs::rename(&path, &kept).expect("moved away");
        assert!(matches!(told().await, Some(Change::RecordGone)));
        let renewed = store.renew(revision, &lease(1, 1)).await;
        assert_eq!(renewed.expect("it is empty"), Renewal::Conflict(None));
        // What has slept through it expects no revision that comes again.
        let again = Record {
            recoveries: 1,
            ..record(1)
        };
        let Swap::Swapped { record: again, .. } = other.create(&again).await.expect("created")
        else {
            panic!("there is a record");
        };
        assert!(again.revision > revision, "{again:?}");
        assert!(matches!(told().await, Some(Change::Record(_))));
        for rest in ["store.db-wal", "store.db-shm"] {
            std::fs::remove_file(scratch.path().join(rest)).expect("removed");
        }
        std::fs::rename(&kept, &path).expect("put back");
        let back = timeout(PATIENCE, async {
            loop {
                if let Some(Change::Record(found)) = told().await {
                    break found.revision;
                }
            }
        });
        assert_eq!(back.await.expect("told"), revision);
    });
    Ok(())
}

pub(crate) fn a_cluster_serves_on_when_a_member_is_killed() -> Outcome {
    let etcd = Etcd::cluster()?;
    run(async {
        let store = open(&etcd).await;
        let revision = created(&store).await;
        etcd.kill(0);
        let begun = Instant::now();
        let swapped = loop {
            match store.swap(revision, &record(2)).await {
                Ok(swapped) => break swapped,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error:?}"),
            }
        };
        // A try whose outcome was not known may have been the one that did it.
        let (Swap::Swapped { record: now, .. } | Swap::Conflict(Some(now))) = swapped else {
            panic!("the record is gone");
        };
        assert_eq!(now.value, record(2));
    });
    Ok(())
}

pub(crate) fn a_silent_watch_goes_on_elsewhere() -> Outcome {
    let etcd = Etcd::cluster()?;
    run(async {
        let (store, other) = (open(&etcd).await, open(&etcd).await);
        let revision = created(&store).await;
        let mut watch = store.watch();
        until(&mut watch, |change| matches!(change, Change::Reachable)).await;
        etcd.pause(0);
        let begun = Instant::now();
        while let Err(error) = other.renew(revision, &lease(1, 1)).await {
            assert!(begun.elapsed() < PATIENCE, "{error:?}");
        }
        let told = until(&mut watch, |change| matches!(change, Change::Lease(_))).await;
        assert!(matches!(told, Change::Lease(told) if told == lease(1, 1)));
        etcd.go_on(0);
    });
    Ok(())
}

async fn until(watch: &mut manada_store::Watch, wanted: impl Fn(&Change) -> bool) -> Change {
    timeout(PATIENCE, async {
        loop {
            let change = watch.next().await.expect("the watch goes on");
            if wanted(&change) {
                return change;
            }
        }
    })
    .await
    .expect("it is told in time")
}

pub(crate) fn a_login_is_used_and_renewed() -> Outcome {
    let etcd = Etcd::single()?;
    run(async { until_it_answers(&open(&etcd).await).await });
    let access = users(&etcd);
    run(async {
        let store = open_at(&etcd.location(), &access).await;
        let revision = created(&store).await;
        // Changing a user makes every token old.
        let login = json!({ "name": "root", "password": "rooted" });
        let root = etcd.post("/v3/auth/authenticate", &login, None);
        let other = json!({ "name": "other", "password": "other" });
        etcd.post("/v3/auth/user/add", &other, root["token"].as_str());
        let renewed = store.renew(revision, &lease(1, 1)).await;
        assert_eq!(renewed.expect("logged in again"), Renewal::Renewed);

        // A password is changed there, then here: no agent has to be started again.
        let changed = json!({ "name": "herd", "password": "changed" });
        let root = etcd.post("/v3/auth/authenticate", &login, None);
        etcd.post("/v3/auth/user/changepw", &changed, root["token"].as_str());
        // A login costs etcd a tenth of a second, and a busy machine more than a request has.
        let is_refused = |renewed: &Result<Renewal, StoreError>| {
            renewed
                .as_ref()
                .is_err_and(|error| error.refusal().is_some())
        };
        renews_until(&store, revision, is_refused).await;
        let file = &access.login.as_ref().expect("a login").password_file;
        std::fs::write(file, "changed\n").expect("written");
        renews_until(&store, revision, |renewed| {
            matches!(renewed, Ok(Renewal::Renewed))
        })
        .await;
        let mut watch = store.watch();
        until(&mut watch, |change| matches!(change, Change::Lease(_))).await;
    });
    Ok(())
}

/// Gives signs of life until one ends so.
async fn renews_until(
    store: &Store,
    revision: Revision,
    is_so: impl Fn(&Result<Renewal, StoreError>) -> bool,
) {
    let begun = Instant::now();
    loop {
        let renewed = store.renew(revision, &lease(1, 2)).await;
        if is_so(&renewed) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{renewed:?}");
    }
}

pub(crate) fn a_refused_login_is_told() -> Outcome {
    let etcd = Etcd::single()?;
    run(async { until_it_answers(&open(&etcd).await).await });
    let mut access = users(&etcd);
    if let Some(login) = &mut access.login {
        std::fs::write(&login.password_file, "hunter2\n").expect("written");
    }
    run(async {
        for access in [access, Access::default()] {
            let store = open_at(&etcd.location(), &access).await;
            let error = store.create(&record(1)).await.expect_err("refused");
            assert_eq!(error.effect, Effect::NotDone, "{error:?}");
            assert!(matches!(error.cause, Cause::Refused { .. }), "{error:?}");
            assert!(error.refusal().is_some(), "{error:?}");
            let mut watch = store.watch();
            until(
                &mut watch,
                |change| matches!(change, Change::Unreachable(error) if error.refusal().is_some()),
            )
            .await;
            assert!(!format!("{error:?} {error} {store:?}").contains("hunter2"));
        }
    });
    Ok(())
}

/// Has etcd ask for passwords, and makes a user who may change this herd's keys alone.
fn users(etcd: &Etcd) -> Access {
    // "/herds/main/" and what begins with it, in base64.
    let permission = json!({
        "permType": "READWRITE", "key": "L2hlcmRzL21haW4v", "range_end": "L2hlcmRzL21haW4w",
    });
    for (path, body) in [
        ("user/add", json!({ "name": "root", "password": "rooted" })),
        ("user/grant", json!({ "user": "root", "role": "root" })),
        ("user/add", json!({ "name": "herd", "password": "secret" })),
        ("role/add", json!({ "name": "herd" })),
        ("role/grant", json!({ "name": "herd", "perm": permission })),
        ("user/grant", json!({ "user": "herd", "role": "herd" })),
        ("enable", json!({})),
    ] {
        etcd.post(&format!("/v3/auth/{path}"), &body, None);
    }
    let password_file = etcd.scratch.path().join("password");
    std::fs::write(&password_file, "secret\n").expect("written");
    Access {
        login: Some(Login {
            user: "herd".to_owned(),
            password_file,
        }),
        ..Access::default()
    }
}

pub(crate) fn tls_wants_the_right_authority() -> Outcome {
    let etcd = Etcd::with_tls()?;
    let stranger = Etcd::with_tls()?;
    run(async {
        let store = open(&etcd).await;
        created(&store).await;
        store.register(&contact("n1", 1)).await.expect("registered");
        assert_eq!(store.read().await.expect("read").book.len(), 1);

        let misled = open_at(&etcd.location(), &stranger.access()).await;
        let error = misled.read().await;
        let error = error.expect_err("another authority");
        assert!(
            matches!(error.cause, Cause::Unreachable { .. }),
            "{error:?}"
        );
        let said = error.refusal().unwrap_or_default();
        assert!(said.contains("certificate"), "{said}");

        let nobody = Access {
            client: None,
            ..etcd.access()
        };
        let anonymous = open_at(&etcd.location(), &nobody).await;
        let error = anonymous.create(&record(2)).await;
        error.expect_err("etcd wants a certificate");

        let trusting = Store::open(&etcd.location(), &herd(), &Access::default()).await;
        assert!(matches!(trusting, Err(OpenError::Access(_))));
    });
    Ok(())
}

/// A server that says what no etcd would.
fn a_server_that_answers(answer: &'static [u8], repeated: &'static [u8]) -> StoreLocation {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let Ok(1..) = stream.read(&mut request) else {
                    return;
                };
                let mut going_on = stream.write_all(answer);
                while going_on.is_ok() && !repeated.is_empty() {
                    going_on = stream.write_all(repeated);
                }
            });
        }
    });
    format!("etcd://127.0.0.1:{port}")
        .parse()
        .expect("a location")
}

pub(crate) fn a_hostile_answer_is_bounded() -> Outcome {
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const CHUNK: &[u8] = b"10\r\n0123456789abcdef\r\n";
    const HEADERS: &[u8] = b"HTTP/1.1 200 OK\r\n";
    run(async {
        let ask = async |location: &StoreLocation| {
            let store = open_at(location, &Access::default()).await;
            let begun = Instant::now();
            let error = store.create(&record(1)).await.expect_err("no etcd says so");
            assert!(begun.elapsed() < REQUEST_MAX + LEEWAY);
            assert_eq!(error.effect, Effect::Unknown, "{error:?}");
            // A watch of it ends too, and can be dropped.
            let mut watch = store.watch();
            let told = timeout(PATIENCE, watch.next()).await.expect("told");
            assert!(matches!(told, Some(Change::Unreachable(_))), "{told:?}");
            error.cause
        };
        let endless = ask(&a_server_that_answers(ENDLESS, CHUNK)).await;
        let bounded = matches!(endless, Cause::TooLong { .. } | Cause::TimedOut);
        assert!(bounded, "{endless:?}");
        let headers = ask(&a_server_that_answers(HEADERS, b"a: b\r\n")).await;
        // On a busy machine the time is over before there are too many.
        let bounded = matches!(headers, Cause::Broken { .. } | Cause::TimedOut);
        assert!(bounded, "{headers:?}");
        let nonsense = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n[1]\n";
        let nonsense = ask(&a_server_that_answers(nonsense, b"")).await;
        assert!(matches!(nonsense, Cause::Malformed { .. }), "{nonsense:?}");
        let page = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>";
        let page = ask(&a_server_that_answers(page, b"")).await;
        assert!(matches!(page, Cause::Refused { .. }), "{page:?}");
    });
    Ok(())
}

pub(crate) fn two_agents_may_make_the_file_at_once() -> Outcome {
    let scratch = Scratch::new();
    let location = StoreLocation::Sqlite(scratch.path().join("store.db"));
    run(async {
        let mut agents = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let location = location.clone();
            agents.spawn(async move {
                let store = open_at(&location, &Access::default()).await;
                store.read().await.expect("read")
            });
        }
        assert_eq!(agents.join_all().await.len(), 8);
    });
    Ok(())
}

pub(crate) fn a_locked_file_is_given_up_in_time() -> Outcome {
    let scratch = Scratch::new();
    let path = scratch.path().join("store.db");
    let location = StoreLocation::Sqlite(path.clone());
    run(async {
        let store = open_at(&location, &Access::default()).await;
        let revision = created(&store).await;
        let other = rusqlite::Connection::open(&path).expect("opened");
        other.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let begun = Instant::now();
        let error = store.renew(revision, &lease(1, 1)).await;
        let error = error.expect_err("another holds the lock");
        assert!(begun.elapsed() < REQUEST_MAX + LEEWAY);
        assert_eq!(error.effect, Effect::NotDone, "{error:?}");
        store.read().await.expect("readers don't wait for a writer");
        other.execute_batch("ROLLBACK").expect("unlocked");
        let renewed = store.renew(revision, &lease(1, 2)).await;
        assert_eq!(renewed.expect("unlocked"), Renewal::Renewed);
    });
    Ok(())
}

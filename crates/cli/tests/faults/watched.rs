//! A protected herd whose clients' log is held against what is there in the end.

use std::sync::Arc;
use std::time::Duration;

use manada_testbed::checker::{History, Recorder};
use manada_testbed::workload::{Manners, Site, Workload};
use manada_testbed::{ProtectedHerd, poll_until, wait_until};

pub(crate) use manada_testbed::workload::ROLE;

/// How long a herd may take to be whole again.
const WHOLE_MAX: Duration = Duration::from_secs(60);

/// How long no write may be acknowledged where nothing has failed: a machine that is busy with
/// other tests takes its time.
const PAUSE_MAX: Duration = Duration::from_secs(4);

const MANNERS: Manners = Manners {
    connect_max: Duration::from_secs(1),
    statement_max: Duration::from_secs(2),
    pause: Duration::from_millis(20),
    retry_pause: Duration::from_millis(50),
};

/// The herd, its clients, and what they were told.
pub(crate) struct Watched {
    // The clients end before their herd.
    workload: Workload,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) herd: ProtectedHerd,
}

impl Watched {
    /// Sets clients to work: one on a host of its own that looks for the primary, and one on each
    /// node's host that is settled on that node.
    pub(crate) fn start(herd: ProtectedHerd) -> Watched {
        herd.prepare_for_clients();
        let recorder = Arc::new(Recorder::new());
        let roaming = Site {
            host: herd.client().clone(),
            servers: herd.servers(),
            writers: 1,
            readers: 1,
            settled: false,
        };
        let at_home = herd.nodes().iter().map(|node| Site {
            host: node.host().clone(),
            servers: vec![node.server()],
            writers: 0,
            readers: 0,
            settled: true,
        });
        let sites = std::iter::once(roaming).chain(at_home).collect();
        let workload = Workload::start(sites, MANNERS, &recorder);
        let watched = Watched {
            workload,
            recorder,
            herd,
        };
        let primary = watched.herd.primary().name();
        wait_until("writes are acknowledged", || {
            watched.acknowledged_since(Duration::ZERO, |by| by == primary)
        });
        watched
    }

    /// The highest epoch that the primary knows.
    pub(crate) fn epoch(&self) -> String {
        self.herd
            .primary()
            .sql("SELECT max(epoch) FROM manada.rule")
    }

    #[track_caller]
    pub(crate) fn must_be_whole(&self) {
        self.herd.must_become_whole(WHOLE_MAX);
    }

    /// It is whole, and nobody has failed over.
    #[track_caller]
    pub(crate) fn must_be_whole_in(&self, epoch: &str, what: &str) {
        self.must_be_whole();
        assert_eq!(self.epoch(), epoch, "it failed over: {what} was away");
    }

    #[track_caller]
    pub(crate) fn wait_for_acknowledgement_by_another(&self, old: &str) {
        wait_until("another acknowledges a write", || {
            self.acknowledged_since(Duration::ZERO, |by| by != old)
        });
    }

    /// For so long, that node acknowledges writes, and no other does.
    #[track_caller]
    pub(crate) fn must_be_acknowledged_for(&self, time: Duration, by: &str) {
        let from = self.recorder.now();
        while self.recorder.now() < from + time {
            let since = self.recorder.now();
            let came = poll_until(PAUSE_MAX, || self.acknowledged_since(since, |it| it == by));
            assert!(came, "{by} acknowledges nothing");
        }
        assert!(!self.acknowledged_since(from, |it| it != by));
    }

    /// When that node acknowledged its last write.
    pub(crate) fn last_acknowledged_by(&self, node: &str) -> Duration {
        let last = |history: &History| {
            let by_node = history.acknowledged().filter(|it| it.node == node);
            by_node.map(|write| write.ended).max()
        };
        self.recorder.look(last).unwrap_or_default()
    }

    fn acknowledged_since(&self, since: Duration, by: impl Fn(&str) -> bool) -> bool {
        self.recorder.look(|history| {
            let mut later = history.acknowledged().filter(|it| it.invoked >= since);
            later.any(|write| by(&write.node))
        })
    }

    /// Whose server a client with that URI gets. What it says about TLS is left out: that is not
    /// what is tried.
    pub(crate) fn found_by(&self, uri: &str) -> Option<String> {
        let (base, parameters) = uri.trim().split_once('?')?;
        let kept = parameters
            .split('&')
            .filter(|parameter| parameter.starts_with("target_session_attrs="));
        let config: tokio_postgres::Config = format!("{base}?{}", kept.collect::<String>())
            .parse()
            .expect("a URI");
        self.herd.client().inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let (client, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
                let connection = tokio::spawn(connection);
                let row = client.query_one("SHOW cluster_name", &[]).await.ok()?;
                connection.abort();
                Some(row.get(0))
            })
        })
    }

    /// Ends the clients, and finds nothing that was promised and not kept.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.workload.stop();
        self.herd.must_become_whole(WHOLE_MAX);
        let end = self.herd.end().expect("a whole herd can be looked at");
        assert_eq!(self.recorder.history().violations(&end), []);
    }
}

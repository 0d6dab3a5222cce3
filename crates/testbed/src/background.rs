//! One thread that lives as long as the test process: it runs the SQL sessions, and it is the
//! parent of the servers.

use std::future::{Future, pending};
use std::sync::OnceLock;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle};

/// Runs `future` on the background thread, and waits for it here. Unlike `block_on` it may be
/// called from anywhere, an asynchronous test included.
///
/// # Panics
/// When `future` does.
#[track_caller]
pub(crate) fn run<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    start(future)
        .recv()
        .expect("what ran in the background has panicked")
}

/// Starts `future` on the background thread; its outcome comes through the channel.
pub(crate) fn start<F>(future: F) -> mpsc::Receiver<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    thread().spawn(async move {
        // Nobody waits any more when the receiver was dropped.
        sender.send(future.await).ok();
    });
    receiver
}

fn thread() -> &'static Handle {
    static THREAD: OnceLock<Handle> = OnceLock::new();
    THREAD.get_or_init(|| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("testbed".to_owned())
            .spawn(move || runtime.block_on(pending::<()>()))
            .expect("a thread can be started");
        handle
    })
}

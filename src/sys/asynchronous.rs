//! Asynchronous work for synchronous callers.
//!
//! A process has one runtime, which is made when it is first needed and never shut down. It is
//! single-threaded: one of the threads that wait in [`block_on`] drives its timers, its I/O and its
//! spawned tasks, and hands that over when its own work is complete. In a command that is the main
//! thread; in the daemon it is the thread of the main loop, while passes wait on a thread of the
//! blocking pool. So waiting starts no thread and no runtime, and a limit holds as long as the
//! driving thread doesn't block in synchronous calls.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build());

/// Runs asynchronous work to its completion on the runtime of the process.
///
/// It is called from a thread without a runtime or from the blocking pool, never from within
/// asynchronous work. The work itself need be neither `Send` nor `'static`: the calling thread
/// polls it. It makes its timers and sockets when it is polled, as an `async` block does. A panic
/// of the work is an error here and goes no further. A system call that still hangs when the work
/// is complete, such as the lookup of a name, is not waited for.
///
/// # Errors
/// When the system gives no runtime, or the work panicked.
pub fn block_on<F: Future>(work: F) -> io::Result<F::Output> {
    let runtime = RUNTIME.as_ref().map_err(|e| io::Error::new(e.kind(), e.to_string()))?;
    // Whatever the work held is dropped with it.
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)))
        .map_err(|_| io::Error::other("a bug in kubecertd ended it; please report it"))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::thread;
    use std::time::{Duration, Instant};

    use tokio::time::{sleep, timeout};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn work_may_borrow_and_need_not_be_send() {
        let text = Rc::new("a".to_owned());
        let borrowed = &text;
        let done = block_on(async move {
            sleep(SHORT).await;
            borrowed.len()
        });
        assert_eq!(done.unwrap(), 1);
    }

    #[test]
    fn panicked_work_is_an_error_and_later_work_runs() {
        let panicked = block_on(async { panic!("on purpose") });
        assert!(panicked.is_err());
        let task = block_on(async { tokio::spawn(async { panic!("on purpose") }).await });
        assert!(task.unwrap().is_err(), "the task alone");
        assert_eq!(block_on(async { 1 }).unwrap(), 1);
    }

    /// As in the daemon: the main loop drives, a pass waits on a thread of the blocking pool, and
    /// what it spawns runs.
    #[test]
    fn blocking_pool_waits_with_limits_while_main_thread_drives() {
        let waited = block_on(async {
            let pass = tokio::task::spawn_blocking(|| {
                block_on(async {
                    let spawned = tokio::spawn(async {
                        sleep(SHORT).await;
                        2
                    });
                    let limited = timeout(SHORT, std::future::pending::<()>()).await;
                    (spawned.await.unwrap(), limited.is_err())
                })
            });
            pass.await.unwrap().unwrap()
        });
        assert_eq!(waited.unwrap(), (2, true));
    }

    #[test]
    fn waiting_thread_drives_when_driver_has_left() {
        let began = Instant::now();
        let drives_first = thread::spawn(|| block_on(async { sleep(SHORT).await }));
        let takes_over = thread::spawn(|| {
            block_on(async { timeout(SHORT * 4, sleep(SHORT * 1_000)).await.is_err() })
        });
        drives_first.join().unwrap().unwrap();
        assert!(takes_over.join().unwrap().unwrap());
        assert!(began.elapsed() < SHORT * 100);
    }
}

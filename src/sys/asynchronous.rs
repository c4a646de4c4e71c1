//! Asynchronous work for callers that are not.

use std::io;

/// Runs asynchronous work to its end.
///
/// On a thread of its own: one that runs an asynchronous task already can't begin another runtime,
/// and a panic of the work is an error and not the caller's. What still hangs in the kernel at the
/// end, such as the lookup of a name, is not waited for.
///
/// # Errors
/// When the system gives no thread or no runtime, or the work panicked.
pub fn block_on<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("asynchronous".to_owned()).spawn_scoped(
            scope,
            || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let done = runtime.block_on(work());
                runtime.shutdown_background();
                Ok(done)
            },
        )?;
        thread.join().unwrap_or_else(|_| {
            Err(io::Error::other("a fault in kubecertd ended it; please report it"))
        })
    })
}

//! Asynchronous work for synchronous callers.

use std::io;

/// Runs asynchronous work to its end.
///
/// The work runs on a thread of its own, because a thread that runs an asynchronous task can't
/// start another runtime, and so that a panic of the work is an error. Work that still blocks in
/// the kernel at the end, such as the lookup of a name, is abandoned.
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

//! Runs several tasks concurrently, and blocking calls with a time limit.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The error text of a task that panicked.
pub(super) const PANICKED: &str = "a bug in kubecertd prevented the check; please report it";

/// The time limit of blocking calls that have none of their own.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs all concurrently. The results are in the order of the tasks; a panic costs only its own
/// task, whose result is `None`.
pub(super) async fn run_concurrently<T: Send + 'static>(
    work: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<Option<T>> {
    let mut tasks = JoinSet::new();
    for (at, one) in work.into_iter().enumerate() {
        tasks.spawn(async move { (at, one.await) });
    }
    let mut results: Vec<Option<T>> = std::iter::repeat_with(|| None).take(tasks.len()).collect();
    while let Some(done) = tasks.join_next().await {
        if let Ok((at, result)) = done
            && let Some(place) = results.get_mut(at)
        {
            *place = Some(result);
        }
    }
    results
}

/// Runs a blocking call on a thread of its own, and abandons it when it takes too long. The thread
/// is none of the runtime's: those that hang for ever must not use up the threads of passes.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (sender, result) = oneshot::channel();
    let work = move || drop(sender.send(work()));
    std::thread::Builder::new()
        .name("blocking".to_owned())
        .spawn(work)
        .map_err(|e| format!("no thread could be started: {e}"))?;
    match timeout(BLOCKING_TIMEOUT, result).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(PANICKED.to_owned()),
        Err(_) => Err(format!("the system did not answer within {} s", BLOCKING_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn results_keep_their_order_despite_a_panic() {
        let work = [30, 0, 10].map(|milliseconds| async move {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            assert!(milliseconds > 0);
            milliseconds
        });
        assert_eq!(run_concurrently(work).await, [Some(30), None, Some(10)]);
    }

    #[test]
    fn hanging_task_is_abandoned() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let began = Instant::now();
        let hangs = run_blocking(|| {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        });
        assert_eq!(runtime.block_on(hangs), Err("the system did not answer within 3 s".to_owned()));
        runtime.shutdown_background();
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

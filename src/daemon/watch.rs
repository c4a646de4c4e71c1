//! The watch of files, which starts a pass when a credential was changed.
//!
//! An event is only a hint. A pass follows if the contents differ from those after the last pass
//! ([`Contents`]), which are read after a time without hints ([`Debounce`]); so our own writes and
//! touches start none, and superfluous events do no harm. Directories are watched and not files,
//! because a watch on a file ends once another file takes its name. Hints are a single flag, never
//! a queue: a storm of events can't fill the memory.
//!
//! Directories that can't be watched are reported and left to the nightly pass. They are tried
//! again with exponential backoff and after every pass, because other programs may have used up the
//! system's inotify instances or watches, and release them later. Also left to the nightly pass is
//! a change that inotify can't see: one made elsewhere on a network file system, a mount over a
//! watched directory, a write through a hard link in another one.

mod contents;
mod debounce;
mod targets;
mod watcher;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::AbsolutePath;
use crate::sys::Root;
pub use contents::Contents;
pub use debounce::Debounce;
use targets::WatchTargets;
use watcher::{ActiveWatcher, Started, describe, unwatched};

/// The least time between two hints; events in between are part of the next hint.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// The time until directories that could not be watched are tried again. It doubles with every
/// failed attempt. Longer than the interval of hints, because every attempt gives one.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// The longest time until the next attempt.
const MAX_RETRY: Duration = Duration::from_mins(10);

/// The sentence for a watch that is complete again.
const RESTORED: &str = "all files are watched again, so that a change starts a pass";

/// The time that the start of a new watcher may take. It starts at once, unless a storm of events
/// keeps it from adding watches.
const START_TIMEOUT: Duration = Duration::from_millis(500);

/// The number of attempts in a row on directories that change while watches are added; then they
/// are left to the next hint.
const MAX_ATTEMPTS: usize = 3;

/// A watch of the paths to some files.
#[derive(Debug)]
pub struct Watch {
    /// The path of the root directory on the system, because inotify does not know [`Root`].
    prefix: PathBuf,
    hints: Arc<Notify>,
    last_hint: Option<Instant>,
    active: Option<ActiveWatcher>,
    /// The result of a watcher that is being started. Never more than one.
    starting: Option<Receiver<Started>>,
    /// The time of the next attempt on what could not be watched.
    retry: Option<Instant>,
    /// The number of attempts in a row that left something unwatched.
    failures: u32,
    reported: Vec<String>,
}

impl Watch {
    /// Makes a watch of no files.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let prefix = std::path::absolute(root.shown()).unwrap_or_else(|_| root.shown().to_owned());
        Self {
            prefix,
            hints: Arc::new(Notify::new()),
            last_hint: None,
            active: None,
            starting: None,
            retry: None,
            failures: 0,
            reported: Vec::new(),
        }
    }

    /// Watches the paths to these files, and no others any more: their directories, those of the
    /// symlinks that lead to them, and for a missing directory the nearest existing one above it.
    /// To be called after every pass and every hint; it changes nothing while no directory has
    /// been replaced.
    ///
    /// Returns a sentence for each problem that was not reported before, or for the end of the
    /// problems.
    pub fn rearm(&mut self, root: &Root, files: &[AbsolutePath]) -> Vec<String> {
        let mut restored = None;
        for _ in 0..MAX_ATTEMPTS {
            if self.starting.is_none() {
                let targets = WatchTargets::find(root, files);
                if self.is_current(&targets) {
                    break;
                }
                self.start_watcher(targets);
            }
            let Some(notes) = self.await_start() else { break };
            if self.retry.is_some() {
                return self.report_new(notes);
            }
            if !std::mem::take(&mut self.reported).is_empty() {
                restored = Some(RESTORED.to_owned());
            }
        }
        restored.into_iter().collect()
    }

    /// The time to call [`Self::rearm`] again for what could not be watched; `None` where all is
    /// watched, or an attempt is under way.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry.filter(|_| self.starting.is_none())
    }

    /// Makes the next call of [`Self::rearm`] try what could not be watched.
    pub fn retry_now(&mut self) {
        if let Some(retry) = &mut self.retry {
            *retry = Instant::now();
        }
    }

    /// Waits for a hint: a file may have changed, or the path to it. A hint is not lost when this
    /// future is dropped.
    pub async fn wait_for_hint(&mut self) {
        if let Some(last) = self.last_hint {
            tokio::time::sleep_until(last + HINT_INTERVAL).await;
        }
        self.hints.notified().await;
        self.last_hint = Some(Instant::now());
    }

    fn is_current(&self, targets: &WatchTargets) -> bool {
        let is_retry_due = self.retry.is_some_and(|retry| Instant::now() >= retry);
        match &self.active {
            Some(active) => active.is_watching(targets) && !is_retry_due,
            None => self.retry.is_some() && !is_retry_due,
        }
    }

    /// Starts a new watcher, each time: notify keeps watches by path, and drops the one of a new
    /// directory when it reads late that the old one was removed. Starts it in a thread, because
    /// notify adds no watches while it reads events without a pause.
    fn start_watcher(&mut self, targets: WatchTargets) {
        if let Some(active) = self.active.take() {
            active.stop();
        }
        let (started, starting) = channel();
        let (prefix, hints) = (self.prefix.clone(), Arc::clone(&self.hints));
        // Without a thread the other end of the channel is closed, which `await_start` notices.
        let _ = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || started.send(ActiveWatcher::start(&prefix, targets, &hints)));
        self.starting = Some(starting);
    }

    /// Waits for the new watcher up to [`START_TIMEOUT`]. `None` when it has not started yet.
    fn await_start(&mut self) -> Option<Vec<String>> {
        let started = self.starting.as_ref()?.recv_timeout(START_TIMEOUT);
        // For changes while no watcher was active, or to wait for this one again.
        self.hints.notify_one();
        let notes = match started {
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => {
                vec![unwatched("no thread could be started for it")]
            }
            Ok(Err(e)) => vec![unwatched(&describe(&e))],
            Ok(Ok((active, notes))) => {
                self.active = Some(active);
                notes
            }
        };
        self.starting = None;
        self.plan_retry(notes.is_empty());
        Some(notes)
    }

    fn plan_retry(&mut self, is_complete: bool) {
        if is_complete {
            (self.retry, self.failures) = (None, 0);
            return;
        }
        let wait = FIRST_RETRY.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.retry = Some(Instant::now() + wait.min(MAX_RETRY));
        self.failures = self.failures.saturating_add(1);
    }

    fn report_new(&mut self, notes: Vec<String>) -> Vec<String> {
        let new = notes.iter().filter(|note| !self.reported.contains(note)).cloned().collect();
        self.reported = notes;
        new
    }
}

//! The watching of files: what wakes the daemon when somebody changes a credential.
//!
//! An event is only a hint. What decides is whether the contents differ from those after the last
//! pass ([`Contents`]), looked at when it has been quiet for a while ([`Quiet`]); so our own writes
//! and mere touches wake nothing, and an event too many does no harm. Folders are watched and not
//! files, because a watch on a file is deaf once another one takes its name. Hints are a single
//! flag, never a queue: a storm of events can't fill the memory.
//!
//! What can't be watched is said and left to the nightly pass. So is what inotify can't see: a
//! change on a network file system made elsewhere, a mount over a watched folder, a write through a
//! hard link in another one.

mod contents;
mod post;
mod quiet;
mod ways;

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
use post::{Post, Taken, unwatched, words};
pub use quiet::Quiet;
use ways::Ways;

/// The least time between two hints: what comes in between is part of the next one.
const PACE: Duration = Duration::from_secs(1);

/// How long what could not be watched is left alone. Longer than a hint, because every attempt
/// gives one.
const REST: Duration = Duration::from_mins(10);

/// How long a new watcher is waited for. It is at work at once, unless a storm of events keeps it
/// from taking orders.
const PROMPT: Duration = Duration::from_millis(500);

/// How often folders that change while they are being watched are looked at again at once, before
/// it is left to the next hint.
const MOST_ATTEMPTS: usize = 3;

/// Watches the ways to some files.
#[derive(Debug)]
pub struct Watch {
    /// The root folder's path for the system, which knows nothing of [`Root`].
    prefix: PathBuf,
    hints: Arc<Notify>,
    hinted: Option<Instant>,
    post: Option<Post>,
    /// A watcher that is on its way to its post. Never more than one.
    coming: Option<Receiver<Taken>>,
    /// When to try again what could not be watched.
    retry: Option<Instant>,
    said: Vec<String>,
}

impl Watch {
    /// Watches nothing yet.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let prefix = std::path::absolute(root.shown()).unwrap_or_else(|_| root.shown().to_owned());
        Self {
            prefix,
            hints: Arc::new(Notify::new()),
            hinted: None,
            post: None,
            coming: None,
            retry: None,
            said: Vec::new(),
        }
    }

    /// Watches the ways to these files, and nothing else any more: their folders, the folders of
    /// the symlinks that lead to them, and for a missing folder the nearest one above it that
    /// exists. To be called after every pass and every hint; while nothing has moved it only looks.
    ///
    /// Gives what can't be watched and why, each a sentence, unless it was said before.
    pub fn aim(&mut self, root: &Root, files: &[AbsolutePath]) -> Vec<String> {
        for _ in 0..MOST_ATTEMPTS {
            if self.coming.is_none() {
                let ways = Ways::of(root, files);
                if self.stands(&ways) {
                    break;
                }
                self.send(ways);
            }
            let Some(notes) = self.arrive() else { break };
            if self.retry.is_some() {
                return self.say(notes);
            }
            self.said.clear();
        }
        Vec::new()
    }

    /// Waits for a hint: a file may have changed, or the way to it. Nothing is lost when it is not
    /// waited to the end.
    pub async fn hint(&mut self) {
        if let Some(hinted) = self.hinted {
            tokio::time::sleep_until(hinted + PACE).await;
        }
        self.hints.notified().await;
        self.hinted = Some(Instant::now());
    }

    fn stands(&self, ways: &Ways) -> bool {
        let resting = self.retry.is_none_or(|retry| Instant::now() < retry);
        match &self.post {
            Some(post) => post.stands(ways) && resting,
            None => self.retry.is_some() && resting,
        }
    }

    /// A new watcher each time: notify keeps watches by path, and drops the one of a new folder
    /// when it hears late that the old one is gone. In a thread, because while more and more events
    /// come notify takes no orders.
    fn send(&mut self, ways: Ways) {
        if let Some(post) = self.post.take() {
            post.leave();
        }
        let (taken, coming) = channel();
        let (prefix, hints) = (self.prefix.clone(), Arc::clone(&self.hints));
        // Without a thread the other end of the channel is closed, which is noticed there.
        let _ = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || taken.send(Post::take(&prefix, ways, &hints)));
        self.coming = Some(coming);
    }

    /// Waits a moment for the new watcher. `None` when it has yet to come.
    fn arrive(&mut self) -> Option<Vec<String>> {
        let taken = self.coming.as_ref()?.recv_timeout(PROMPT);
        // For what happened while nobody watched, or to wait for it again.
        self.hints.notify_one();
        let notes = match taken {
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => {
                vec![unwatched("no thread could be started for it")]
            }
            Ok(Err(e)) => vec![unwatched(&words(&e))],
            Ok(Ok((post, notes))) => {
                self.post = Some(post);
                notes
            }
        };
        self.coming = None;
        self.retry = (!notes.is_empty()).then(|| Instant::now() + REST);
        Some(notes)
    }

    fn say(&mut self, notes: Vec<String>) -> Vec<String> {
        let new = notes.iter().filter(|note| !self.said.contains(note)).cloned().collect();
        self.said = notes;
        new
    }
}

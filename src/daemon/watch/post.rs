//! One watcher at work: the folders it watches, which of their events count, and its end.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use nix::errno::Errno;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{
    Config, ErrorKind, Event, EventHandler, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
};
use tokio::sync::Notify;

use super::ways::Ways;

/// How long the end of a watcher is waited for, so that its watches don't count against the
/// system's limit any more when the next one takes its own.
const FAREWELL: Duration = Duration::from_secs(1);

/// A watcher at work.
#[derive(Debug)]
pub(super) struct Post {
    watcher: RecommendedWatcher,
    ways: Ways,
    state: Arc<State>,
    /// Closed by the end of the watcher's thread. A call to the watcher after it would panic.
    ended: Receiver<()>,
}

/// What the watcher's thread and its owner tell each other.
#[derive(Debug, Default)]
struct State {
    /// By the thread: a watch may be gone, or events were lost.
    lost: AtomicBool,
    /// By the owner: nobody listens any more.
    left: AtomicBool,
}

/// A watcher with what it can't watch and why; or why there is none.
pub(super) type Taken = Result<(Post, Vec<String>), notify::Error>;

impl Post {
    /// Watches these ways. Also says what can't be watched and why.
    pub(super) fn take(prefix: &Path, ways: Ways, hints: &Arc<Notify>) -> Taken {
        let (alive, ended) = channel();
        let state = Arc::new(State::default());
        let ear = Ear {
            names: ways.names().map(|path| below(prefix, &path)).collect(),
            folders: ways.folders().map(|path| below(prefix, path)).collect(),
            hints: Arc::clone(hints),
            state: Arc::clone(&state),
            _alive: alive,
        };
        let watcher = RecommendedWatcher::new(ear, Config::default())?;
        let mut post = Self { watcher, ways, state, ended };
        let notes = post.arm(prefix);
        Ok((post, notes))
    }

    fn arm(&mut self, prefix: &Path) -> Vec<String> {
        let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for folder in self.ways.folders() {
            if self.has_ended() {
                return vec![unwatched("no thread could be started for it")];
            }
            match self.watcher.watch(&below(prefix, folder), RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(e) if is_gone(&e) => self.state.lost.store(true, Ordering::Release),
                Err(e) => refused.entry(words(&e)).or_default().push(folder.display().to_string()),
            }
        }
        let note = |(reason, folders): (_, Vec<_>)| {
            format!(
                "{}: can't be watched, so that changes there are found by the next pass only: \
                 {reason}",
                folders.join(", ")
            )
        };
        refused.into_iter().map(note).collect()
    }

    /// Whether these ways are what is watched, as far as is known.
    pub(super) fn stands(&self, ways: &Ways) -> bool {
        self.ways == *ways && !self.state.lost.load(Ordering::Acquire) && !self.has_ended()
    }

    /// Ends the watcher and gives its watches back.
    pub(super) fn leave(self) {
        if self.has_ended() {
            // Its own clean-up would panic, and all that is left of it is a few bytes.
            std::mem::forget(self.watcher);
            return;
        }
        drop(self.watcher);
        self.state.left.store(true, Ordering::Release);
        // Nothing is ever sent: this waits for the other end to be closed.
        let _ = self.ended.recv_timeout(FAREWELL);
    }

    fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }
}

fn below(prefix: &Path, path: &Path) -> PathBuf {
    prefix.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a folder went away after it was looked for: no trouble, but to be looked for again.
/// notify has two words for it, by when it went.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(e) => {
            matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
        _ => false,
    }
}

/// Why the system refuses to watch, and what helps.
pub(super) fn words(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => "the limit of inotify watches is reached; raise the sysctl \
            fs.inotify.max_user_watches"
            .to_owned(),
        ErrorKind::Io(e) if e.raw_os_error() == Some(Errno::EMFILE as i32) => {
            "the limit of inotify instances, or of open files, is reached; raise the sysctl \
             fs.inotify.max_user_instances"
                .to_owned()
        }
        ErrorKind::Io(e) => e.to_string(),
        _ => error.to_string(),
    }
}

/// What the watcher's thread calls with every event, and what it knows.
struct Ear {
    /// Every file, symlink and folder on a way.
    names: HashSet<PathBuf>,
    /// The watched folders.
    folders: HashSet<PathBuf>,
    hints: Arc<Notify>,
    state: Arc<State>,
    _alive: Sender<()>,
}

impl EventHandler for Ear {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        if self.state.left.load(Ordering::Acquire) {
            // In a storm notify reads on and on and does not come to hear that it shall stop. This
            // ends its thread, silently.
            std::panic::resume_unwind(Box::new(()));
        }
        if self.is_lost(&event) {
            self.state.lost.store(true, Ordering::Release);
            self.hints.notify_one();
        } else if event.is_ok_and(|event| self.counts(&event)) {
            self.hints.notify_one();
        }
    }
}

impl Ear {
    /// Whether a watch is gone, or anything else may have happened unseen.
    fn is_lost(&self, event: &notify::Result<Event>) -> bool {
        match event {
            Ok(event) => {
                event.need_rescan()
                    || (changes(event.kind)
                        && event.paths.iter().any(|path| self.folders.contains(path)))
            }
            Err(_) => true,
        }
    }

    fn counts(&self, event: &Event) -> bool {
        changes(event.kind) && event.paths.iter().any(|path| self.names.contains(path))
    }
}

/// Whether something like this can change what a file holds. Opening and reading can't, nor can
/// another mode or time.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    }
}

pub(super) fn unwatched(reason: &str) -> String {
    format!("files are not watched, so that changes are found by the next pass only: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_with_what_helps() {
        let watches =
            notify::Error::new(ErrorKind::MaxFilesWatch).add_path("/etc/kubernetes".into());
        assert!(words(&watches).ends_with("raise the sysctl fs.inotify.max_user_watches"));
        let instances = notify::Error::io(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        assert!(words(&instances).ends_with("raise the sysctl fs.inotify.max_user_instances"));
    }

    #[test]
    fn a_thread_that_has_ended_is_noticed_and_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let hints = Arc::new(Notify::new());
        let (post, notes) = Post::take(folder.path(), Ways::default(), &hints).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert!(post.stands(&Ways::default()));
        let Post { mut watcher, ways, state, ended } = post;
        watcher.watch(folder.path(), RecursiveMode::NonRecursive).unwrap();
        state.left.store(true, Ordering::Release);
        std::fs::write(folder.path().join("a"), "").unwrap();
        ended.recv_timeout(Duration::from_secs(10)).unwrap_err();
        let post = Post { watcher, ways, state, ended };
        assert!(!post.stands(&Ways::default()));
        post.leave();
    }
}

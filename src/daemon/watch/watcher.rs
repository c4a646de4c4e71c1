//! One active watcher: its directories, the events that count, and its end.

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

use super::targets::WatchTargets;

/// The time that the end of a watcher may take. Afterwards its watches don't count against the
/// system's limit any more, when the next one adds its own.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// An active watcher.
#[derive(Debug)]
pub(super) struct ActiveWatcher {
    watcher: RecommendedWatcher,
    targets: WatchTargets,
    state: Arc<State>,
    /// Closed by the end of the watcher's thread. A call to the watcher after it would panic.
    ended: Receiver<()>,
}

/// The state that the watcher's thread and its owner share.
#[derive(Debug, Default)]
struct State {
    /// Set by the thread: a watch may be gone, or events were lost.
    lost: AtomicBool,
    /// Set by the owner: the thread shall end.
    stopped: AtomicBool,
}

/// A watcher, with a sentence for each reason why directories can't be watched; or the error.
pub(super) type Started = Result<(ActiveWatcher, Vec<String>), notify::Error>;

impl ActiveWatcher {
    /// Watches these targets.
    pub(super) fn start(prefix: &Path, targets: WatchTargets, hints: &Arc<Notify>) -> Started {
        let (alive, ended) = channel();
        let state = Arc::new(State::default());
        let filter = EventFilter {
            names: targets.names().map(|path| below(prefix, &path)).collect(),
            dirs: targets.dirs().map(|path| below(prefix, path)).collect(),
            hints: Arc::clone(hints),
            state: Arc::clone(&state),
            _alive: alive,
        };
        let watcher = RecommendedWatcher::new(filter, Config::default())?;
        let mut active = Self { watcher, targets, state, ended };
        let notes = active.add_watches(prefix);
        Ok((active, notes))
    }

    fn add_watches(&mut self, prefix: &Path) -> Vec<String> {
        let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for dir in self.targets.dirs() {
            if self.is_finished() {
                return vec![unwatched("no thread could be started for it")];
            }
            match self.watcher.watch(&below(prefix, dir), RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(e) if is_gone(&e) => self.state.lost.store(true, Ordering::Release),
                Err(e) => refused.entry(describe(&e)).or_default().push(dir.display().to_string()),
            }
        }
        let note = |(reason, dirs): (_, Vec<_>)| {
            format!(
                "{}: can't be watched, so that changes there are found by the next pass only: \
                 {reason}",
                dirs.join(", ")
            )
        };
        refused.into_iter().map(note).collect()
    }

    /// Whether exactly these targets are watched, as far as is known.
    pub(super) fn is_watching(&self, targets: &WatchTargets) -> bool {
        self.targets == *targets && !self.state.lost.load(Ordering::Acquire) && !self.is_finished()
    }

    /// Stops the watcher and releases its watches.
    pub(super) fn stop(self) {
        if self.is_finished() {
            // Its clean-up would panic, and only a few bytes of it are left.
            std::mem::forget(self.watcher);
            return;
        }
        drop(self.watcher);
        self.state.stopped.store(true, Ordering::Release);
        // Waits for the other end to be closed; no message is ever sent.
        let _ = self.ended.recv_timeout(STOP_TIMEOUT);
    }

    fn is_finished(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }
}

fn below(prefix: &Path, path: &Path) -> PathBuf {
    prefix.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a directory was removed after it was found; the targets are then found again. notify has
/// two errors for it.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(e) => {
            matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
        _ => false,
    }
}

/// Describes why the system refuses to watch, and the remedy.
pub(super) fn describe(error: &notify::Error) -> String {
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

/// The filter that the watcher's thread calls with every event.
struct EventFilter {
    /// Every file, symlink and directory on a path.
    names: HashSet<PathBuf>,
    /// The watched directories.
    dirs: HashSet<PathBuf>,
    hints: Arc<Notify>,
    state: Arc<State>,
    _alive: Sender<()>,
}

impl EventHandler for EventFilter {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        if self.state.stopped.load(Ordering::Acquire) {
            // While events keep coming, notify does not notice that it shall stop. This ends its
            // thread without a message.
            std::panic::resume_unwind(Box::new(()));
        }
        if self.is_lost(&event) {
            self.state.lost.store(true, Ordering::Release);
            self.hints.notify_one();
        } else if event.is_ok_and(|event| self.is_relevant(&event)) {
            self.hints.notify_one();
        }
    }
}

impl EventFilter {
    /// Whether a watch may be gone, or events may be missing.
    fn is_lost(&self, event: &notify::Result<Event>) -> bool {
        match event {
            Ok(event) => {
                event.need_rescan()
                    || (is_change(event.kind)
                        && event.paths.iter().any(|path| self.dirs.contains(path)))
            }
            Err(_) => true,
        }
    }

    fn is_relevant(&self, event: &Event) -> bool {
        is_change(event.kind) && event.paths.iter().any(|path| self.names.contains(path))
    }
}

/// Whether an event of this kind can change the content of a file. Opening and reading can't, nor
/// can another mode or time.
fn is_change(kind: EventKind) -> bool {
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
    fn limit_is_described_with_its_sysctl() {
        let watches =
            notify::Error::new(ErrorKind::MaxFilesWatch).add_path("/etc/kubernetes".into());
        assert!(describe(&watches).ends_with("raise the sysctl fs.inotify.max_user_watches"));
        let instances = notify::Error::io(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        assert!(describe(&instances).ends_with("raise the sysctl fs.inotify.max_user_instances"));
    }

    #[test]
    fn ended_thread_is_noticed_and_can_be_stopped() {
        if !super::super::tests::can_watch() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let hints = Arc::new(Notify::new());
        let (active, notes) =
            ActiveWatcher::start(dir.path(), WatchTargets::default(), &hints).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert!(active.is_watching(&WatchTargets::default()));
        let ActiveWatcher { mut watcher, targets, state, ended } = active;
        watcher.watch(dir.path(), RecursiveMode::NonRecursive).unwrap();
        state.stopped.store(true, Ordering::Release);
        std::fs::write(dir.path().join("a"), "").unwrap();
        ended.recv_timeout(Duration::from_secs(10)).unwrap_err();
        let active = ActiveWatcher { watcher, targets, state, ended };
        assert!(!active.is_watching(&WatchTargets::default()));
        active.stop();
    }
}

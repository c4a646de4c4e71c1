//! The numbers for Prometheus: kept up to date by the main loop, and written and served beside it,
//! so that nothing which goes wrong there costs a pass anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::configuration::Options;
use super::duty::Done;
use crate::drivers::listen::{ListenError, Listener};
use crate::model::{AbsolutePath, Timestamp};
use crate::observe::{ConfigFile, Node};
use crate::pass::{policy, survey};
use crate::report::metrics::{Format, Known, families, serve, text, textfile};
use crate::report::{Ledger, line};
use crate::settings::{Listen, Textfile};
use crate::state::PassMemory;
use crate::sys::{Clock, FileError, Root};

/// The file is written when something is new, and at least this often: so its age tells whether the
/// daemon lives.
const AT_LEAST: Duration = Duration::from_secs(3_600);

pub(super) struct Metrics {
    known: Arc<watch::Sender<Known>>,
    root: PathBuf,
    clock: Arc<dyn Clock>,
    ledger: Ledger,
    textfile: Option<(AbsolutePath, Task)>,
    server: Option<(Listen, Task)>,
    /// When the present pass began.
    began: Instant,
}

/// A task that ends with the value.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Metrics {
    /// Knows what was remembered of passes.
    pub(super) fn new(options: &Options, state: &PassMemory, ledger: &Ledger) -> Self {
        let known = Known::remembered(state.last_pass_began, state.last_pass_succeeded);
        Self {
            known: Arc::new(watch::Sender::new(known)),
            root: options.root.clone(),
            clock: Arc::clone(&options.clock),
            ledger: ledger.clone(),
            textfile: None,
            server: None,
            began: Instant::now(),
        }
    }

    /// Writes and serves as the configuration says, which was just read. What could not be listened
    /// at is tried again.
    pub(super) fn set_up(&mut self, node: &Node, configuration: &Arc<Vec<ConfigFile>>) {
        let settings = &node.settings.metrics;
        self.circumstances(node);
        self.write(&settings.textfile);
        self.listen(node, &settings.listen);
        if self.textfile.is_some() || self.server.is_some() {
            self.look(configuration);
        }
    }

    pub(super) fn pass_begins(&mut self) {
        self.began = Instant::now();
    }

    /// Takes note of a pass that came to its end.
    pub(super) fn passed(&self, done: &Done, node: &Node) {
        // Of one that a fault ended, not even the beginning is known.
        let began = if done.last.began == Timestamp::default() {
            self.clock.now()
        } else {
            done.last.began
        };
        self.known.send_modify(|known| {
            known.passed(began, self.began.elapsed(), done.report.as_ref());
            if let Some((survey, belief)) = done.seen.clone() {
                known.seen(survey, Some(&belief));
            }
        });
        self.circumstances(node);
    }

    pub(super) fn next_pass(&self, next: Option<Timestamp>) {
        self.known.send_if_modified(|known| std::mem::replace(&mut known.next_pass, next) != next);
    }

    /// Writes the file, where no daemon goes on with it.
    pub(super) fn write_once(&self, node: &Node) {
        let Textfile::File(file) = &*node.settings.metrics.textfile else { return };
        let text = page(&self.known.subscribe(), &*self.clock, Format::Classic);
        if let Err(e) = textfile::write(&node.root, file, &text) {
            line::note(format_args!("{e}; the metrics there are out of date"));
        }
    }

    /// Takes note of the configuration and the alarms in force.
    fn circumstances(&self, node: &Node) {
        let in_force = self.ledger.look(&node.root, &node.settings.paths.state).0.in_force;
        self.known.send_modify(|known| {
            known.policy = Some(policy(node));
            known.alarms = in_force;
        });
    }

    /// Looks at the certificates once, so that they are known before the first pass, which may be a
    /// night away.
    fn look(&self, configuration: &Arc<Vec<ConfigFile>>) {
        let (known, root, clock) =
            (Arc::clone(&self.known), self.root.clone(), Arc::clone(&self.clock));
        let configuration = Arc::clone(configuration);
        // What is wrong with the node, the pass will tell.
        spawn_blocking(move || {
            let node =
                Root::open(&root).ok().and_then(|root| Node::with_files(root, &configuration).ok());
            let Some(found) = node.map(|node| survey(&node, clock.now())) else { return };
            known.send_if_modified(|known| {
                let new = known.survey.is_none();
                if new {
                    known.seen(found, None);
                }
                new
            });
        });
    }

    fn write(&mut self, textfile: &Textfile) {
        let wanted = if let Textfile::File(file) = textfile { Some(file.clone()) } else { None };
        let before = self.textfile.take();
        if let Some((file, task)) = before {
            if wanted.as_ref() == Some(&file) {
                self.textfile = Some((file, task));
                return;
            }
            drop(task);
            let root = self.root.clone();
            spawn_blocking(move || {
                if let Err(e) = Root::open(&root).and_then(|root| textfile::remove(&root, &file)) {
                    line::note(format_args!("{e}; the metrics there are out of date"));
                }
            });
        }
        self.textfile = wanted.map(|file| {
            let writer = Writer {
                root: self.root.clone(),
                file: file.clone(),
                clock: Arc::clone(&self.clock),
            };
            (file, Task(tokio::spawn(writer.write(self.known.subscribe()))))
        });
    }

    fn listen(&mut self, node: &Node, listen: &Listen) {
        if self.server.as_ref().is_some_and(|(at, task)| at == listen && !task.0.is_finished()) {
            return;
        }
        // The old place is free before the new one is taken: it may be the same.
        self.server = None;
        let listener = match bind(&node.root, listen) {
            Ok(Some(listener)) => listener,
            Ok(None) => return,
            Err(e) => {
                return line::note(format_args!(
                    "{e}; the metrics are not served until the configuration is read again"
                ));
            }
        };
        let (known, clock) = (self.known.subscribe(), Arc::clone(&self.clock));
        let page = Arc::new(move |format| page(&known, &*clock, format));
        self.server = Some((
            listen.clone(),
            Task(tokio::spawn(async move { match serve::serve(listener, page).await {} })),
        ));
        tracing::info!("metrics are served at {listen}");
    }
}

fn bind(root: &Root, listen: &Listen) -> Result<Option<Listener>, ListenError> {
    match listen {
        Listen::Off => Ok(None),
        Listen::Loopback(address) => Listener::tcp(*address).map(Some),
        Listen::Unix(path) => Listener::unix(root, path).map(Some),
    }
}

fn page(known: &watch::Receiver<Known>, clock: &dyn Clock, format: Format) -> String {
    let families = families(&known.borrow(), clock.now());
    // Writing to a text can't fail.
    text(families, format).unwrap_or_default()
}

/// Who writes the file.
struct Writer {
    root: PathBuf,
    file: AbsolutePath,
    clock: Arc<dyn Clock>,
}

impl Writer {
    async fn write(self, mut known: watch::Receiver<Known>) {
        let mut said = None;
        loop {
            known.mark_unchanged();
            let text = page(&known, &*self.clock, Format::Classic);
            let trouble = self.once(text).await.err().map(|e| e.to_string());
            match &trouble {
                // The same again and again would be only noise.
                Some(trouble) if said.as_ref() != Some(trouble) => {
                    line::note(format_args!("{trouble}; the metrics there are out of date"))
                }
                None if said.is_some() => tracing::info!("{} is written again", self.file),
                _ => {}
            }
            said = trouble;
            if let Ok(Err(_)) = tokio::time::timeout(AT_LEAST, known.changed()).await {
                return;
            }
        }
    }

    /// On a thread of its own: a disk may hang.
    async fn once(&self, text: String) -> Result<(), FileError> {
        let (root, file) = (self.root.clone(), self.file.clone());
        let written = spawn_blocking(move || {
            Root::open(&root).and_then(|root| textfile::write(&root, &file, &text))
        })
        .await;
        written.unwrap_or_else(|e| {
            Err(FileError::from_io(self.file.as_path(), "write", std::io::Error::other(e)))
        })
    }
}

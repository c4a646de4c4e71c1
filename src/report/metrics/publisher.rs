//! Publishes the metrics: they are updated by the main loop, and written and served by tasks of
//! their own, so that a failure there costs no pass anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Format, Known, families, serve, text, textfile};
use crate::drivers::listen::{ListenError, Listener};
use crate::model::{AbsolutePath, Timestamp};
use crate::observe::{ConfigFile, Node};
use crate::pass::{policy, survey};
use crate::report::{AlarmLedger, FinishedPass, line};
use crate::settings::{Listen, Textfile};
use crate::state::PassMemory;
use crate::sys::{Clock, FileError, Root};

/// The file is written when something changes, and at least this often, so that its age shows
/// whether the daemon runs.
const WRITE_INTERVAL: Duration = Duration::from_secs(3_600);

/// The metrics, and the tasks that write and serve them.
pub struct MetricsPublisher {
    known: Arc<watch::Sender<Known>>,
    root: PathBuf,
    clock: Arc<dyn Clock>,
    ledger: AlarmLedger,
    textfile: Option<(AbsolutePath, Task)>,
    server: Option<(Listen, Task)>,
    /// When the present pass began.
    began: Instant,
}

/// A task that is aborted when the value is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl MetricsPublisher {
    /// Starts from the remembered passes in `state`. Publishes nothing yet.
    #[must_use]
    pub fn new(
        root: PathBuf,
        clock: Arc<dyn Clock>,
        state: &PassMemory,
        ledger: &AlarmLedger,
    ) -> Self {
        let known = Known::remembered(state.last_pass_began, state.last_pass_succeeded);
        Self {
            known: Arc::new(watch::Sender::new(known)),
            root,
            clock,
            ledger: ledger.clone(),
            textfile: None,
            server: None,
            began: Instant::now(),
        }
    }

    /// Writes and serves as a newly read configuration says. An address that could not be listened
    /// at is tried again.
    pub fn apply_configuration(&mut self, node: &Node, configuration: &Arc<Vec<ConfigFile>>) {
        let settings = &node.settings.metrics;
        self.update_policy_and_alarms(node);
        self.restart_writer(&settings.textfile);
        self.restart_server(node, &settings.listen);
        if self.textfile.is_some() || self.server.is_some() {
            self.survey_certificates(configuration);
        }
    }

    /// Notes the beginning of a pass.
    pub fn begin_pass(&mut self) {
        self.began = Instant::now();
    }

    /// Counts a finished pass. `node` is the node by the configuration in force.
    pub fn end_pass(&self, finished: &FinishedPass, node: &Node) {
        // After a fault not even the beginning is known.
        let began = if finished.last.began == Timestamp::default() {
            self.clock.now()
        } else {
            finished.last.began
        };
        self.known.send_modify(|known| {
            known.count_pass(began, self.began.elapsed(), finished.report());
            if let Some((survey, clock_trust)) = finished.survey() {
                known.set_survey(survey.clone(), Some(clock_trust));
            }
        });
        self.update_policy_and_alarms(node);
    }

    /// Sets the time of the next pass.
    pub fn set_next_pass(&self, next: Option<Timestamp>) {
        self.known.send_if_modified(|known| std::mem::replace(&mut known.next_pass, next) != next);
    }

    /// Writes the file once, where no daemon goes on with it.
    pub fn write_once(&self, node: &Node) {
        let Textfile::File(file) = &*node.settings.metrics.textfile else { return };
        let text = page(&self.known.subscribe(), &*self.clock, Format::Classic);
        if let Err(e) = textfile::write(&node.root, file, &text) {
            line::log_note(format_args!("{e}; the metrics there are out of date"));
        }
    }

    /// Stops writing and serving: the socket file is removed.
    pub async fn stop(self) {
        let server = self.server.map(|(_, task)| task);
        for mut task in self.textfile.map(|(_, task)| task).into_iter().chain(server) {
            task.0.abort();
            let _ = (&mut task.0).await;
        }
    }

    /// Takes over the thresholds of the configuration and the alarms in force.
    fn update_policy_and_alarms(&self, node: &Node) {
        let in_force = self.ledger.read(&node.root, &node.settings.paths.state).0.in_force;
        self.known.send_modify(|known| {
            known.policy = Some(policy(node));
            known.alarms = in_force;
        });
    }

    /// Surveys the certificates once, so that they are known before the first pass, which may be
    /// hours away.
    fn survey_certificates(&self, configuration: &Arc<Vec<ConfigFile>>) {
        let (known, root, clock) =
            (Arc::clone(&self.known), self.root.clone(), Arc::clone(&self.clock));
        let configuration = Arc::clone(configuration);
        // The pass reports errors of the node.
        spawn_blocking(move || {
            let node =
                Root::open(&root).ok().and_then(|root| Node::with_files(root, &configuration).ok());
            let Some(found) = node.map(|node| survey(&node, clock.now())) else { return };
            known.send_if_modified(|known| {
                let new = known.survey.is_none();
                if new {
                    known.set_survey(found, None);
                }
                new
            });
        });
    }

    fn restart_writer(&mut self, textfile: &Textfile) {
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
                    line::log_note(format_args!("{e}; the metrics there are out of date"));
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

    fn restart_server(&mut self, node: &Node, listen: &Listen) {
        if self.server.as_ref().is_some_and(|(at, task)| at == listen && !task.0.is_finished()) {
            return;
        }
        // The old address is released first: it may be the same as the new one.
        self.server = None;
        let listener = match bind(&node.root, listen) {
            Ok(Some(listener)) => listener,
            Ok(None) => return,
            Err(e) => {
                return line::log_note(format_args!(
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

/// Writes the file.
struct Writer {
    root: PathBuf,
    file: AbsolutePath,
    clock: Arc<dyn Clock>,
}

impl Writer {
    async fn write(self, mut known: watch::Receiver<Known>) {
        let mut logged = None;
        loop {
            known.mark_unchanged();
            let text = page(&known, &*self.clock, Format::Classic);
            let trouble = self.write_file(text).await.err().map(|e| e.to_string());
            match &trouble {
                // An unchanged error is logged once.
                Some(trouble) if logged.as_ref() != Some(trouble) => {
                    line::log_note(format_args!("{trouble}; the metrics there are out of date"))
                }
                None if logged.is_some() => {
                    tracing::info!("{}: the metrics are written again", self.file);
                }
                _ => {}
            }
            logged = trouble;
            if let Ok(Err(_)) = tokio::time::timeout(WRITE_INTERVAL, known.changed()).await {
                return;
            }
        }
    }

    /// Writes on the blocking pool: a disk may hang.
    async fn write_file(&self, text: String) -> Result<(), FileError> {
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

//! The main loop: it waits for events and handles them.
//!
//! The loop itself does nothing that takes long: it drives the runtime of the process. A pass runs
//! on the blocking pool, one at a time, while the loop goes on sending watchdog notifications and
//! handling signals.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Retries;
use super::change_detector::ChangeDetector;
use super::configuration::{LoadedConfiguration, Options, node_schedule};
use super::deadlines::Deadlines;
use super::node_reports::{LastPass, NodeReports};
use super::pass_runner::{PassCause, PassRunner, failed_by_fault};
use super::sandbox::ReadOnlyDirs;
use super::schedule::{Schedule, Tick, Ticker};
use super::timing::{Beginning, Observation, plan_first_pass, random_jitter, recheck_delay};
use super::{DaemonError, NotifySocket, SignalRequest, Signals};
use crate::model::{AbsolutePath, DeferralReason, Timestamp};
use crate::observe::Node;
use crate::pass::{self, Report, ScheduleMemory};
use crate::plan::Trigger;
use crate::report::alarms::AlarmChanges;
use crate::report::nodes::{Exchanged, ReportedPass};
use crate::report::status::{activity, runtime_dir};
use crate::report::{FinishedPass, PassSummary, Status, line, log};
use crate::state::{KeptRotation, PassMemory};
use crate::store::is_unfinished;
use crate::store::lock::Lock;
use crate::sys::Root;

/// How long the daemon waits for the present pass when it stops. The next start completes what the
/// pass leaves.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the daemon tries to take its lock: `kubecertd status` holds it for a moment to find out
/// whether a daemon runs.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs until a signal stops it.
///
/// # Errors
/// When it can't start. Once it runs, only a signal stops it.
pub async fn run(options: Options) -> Result<(), DaemonError> {
    let mut daemon = Daemon::start(options).await?;
    daemon.notify.send_ready(&daemon.activity());
    daemon.begin();
    loop {
        daemon.publish_status();
        match daemon.next_event().await {
            Event::Signal(SignalRequest::Stop) => break,
            Event::Signal(SignalRequest::Reload) => daemon.reload_configuration(),
            Event::Signal(SignalRequest::Pass) => {
                daemon.request_pass(PassCause::new("asked for by a signal", Trigger::Asked))
            }
            Event::Tick(tick) => daemon.handle_tick(tick),
            Event::Deadline(text) => {
                daemon.request_pass(PassCause::new(text, Trigger::Other));
            }
            Event::FileHint => daemon.handle_hint(),
            Event::ChangesSettled => daemon.handle_changes(),
            Event::Retry => daemon.retry_pass(),
            Event::WatchRetry => daemon.changes.retry_watches(&daemon.node),
            Event::PassFinished(finished) => {
                daemon.finish_pass(*finished);
                if daemon.needs_restart() {
                    break;
                }
            }
            Event::ExchangeFinished(end) => daemon.runner.reporter.report_exchange(&end),
            Event::Watchdog => daemon.notify.send_watchdog(),
        }
    }
    daemon.stop().await;
    Ok(())
}

/// A pass that came to its end, and the changes of alarms after it.
type PassEnd = (FinishedPass, AlarmChanges);

enum Event {
    Signal(SignalRequest),
    Tick(Tick),
    Deadline(String),
    FileHint,
    ChangesSettled,
    Retry,
    WatchRetry,
    PassFinished(Box<PassEnd>),
    ExchangeFinished(Exchanged),
    Watchdog,
}

struct Daemon {
    options: Options,
    notify: NotifySocket,
    signals: Signals,
    ticker: Ticker,
    schedule: Schedule,
    changes: ChangeDetector,
    node: Node,
    configuration: LoadedConfiguration,
    /// The configuration was read again after the present pass began.
    reloaded: bool,
    /// The time up to which scheduled passes were requested.
    scheduled_until: Timestamp,
    observation: Observation,
    first_pass: Option<PassCause>,
    deadlines: Deadlines,
    runner: PassRunner,
    pass: Option<JoinHandle<PassEnd>>,
    /// The pass that is requested for after the present one.
    requested: Option<PassCause>,
    /// The trigger of the last pass.
    trigger: Trigger,
    node_reports: NodeReports,
    retries: Retries,
    retry: Option<(Instant, Timestamp)>,
    last: Option<PassSummary>,
    read_only: ReadOnlyDirs,
    watchdog: Option<Instant>,
    started: Timestamp,
    published: Option<Status>,
    _lock: Lock,
}

impl Daemon {
    async fn start(options: Options) -> Result<Self, DaemonError> {
        let root = || Root::open(&options.root).map_err(DaemonError::Root);
        let dir = root()?.create_dir(&runtime_dir()).map_err(DaemonError::Root)?;
        let lock =
            Lock::take(&dir, LOCK_TIMEOUT).or_else(|e| Err(DaemonError::from_lock(e, &root()?)))?;
        let signals = Signals::listen().map_err(DaemonError::Signals)?;
        let (configuration, node) = LoadedConfiguration::load(&options)?;
        if let Some(trouble) = &configuration.trouble {
            log::log_configuration_refused("the last valid one is in force", trouble);
        }
        let now = options.clock.now();
        let schedule = node_schedule(&node);
        let (state, note) = PassMemory::read(&node.root, &node.settings.paths.state);
        note.iter().for_each(line::log_note);
        let unfinished = state.unfinished || is_unfinished(&node.root, &node.settings.paths.state);
        let Beginning { scheduled_until, observation, first_pass } =
            plan_first_pass(&state, unfinished, &schedule, now);
        let survey = pass::survey(&node, now);
        let needs_immediate_pass = || {
            survey.needs_immediate_pass().then(|| {
                PassCause::new("a certificate is urgent, expired or broken", Trigger::Other)
            })
        };
        let (rotation, _) = KeptRotation::read(&node.root, &node.settings.paths.state);
        let goes_on = || {
            rotation
                .intent
                .as_ref()
                .map(|_| PassCause::new("a rotation of the root CA is under way", Trigger::Other))
        };
        let first_pass = first_pass.or_else(needs_immediate_pass).or_else(goes_on);
        let deadlines = Deadlines::new(&node, &survey);
        let ticker =
            Ticker::start(schedule.clone(), Arc::clone(&options.clock), scheduled_until).await?;
        let notify = NotifySocket::from_environment();
        Ok(Self {
            notify,
            signals,
            ticker,
            schedule,
            changes: ChangeDetector::new(&node),
            read_only: ReadOnlyDirs::record(&node.root, &original_files(&node)),
            node,
            configuration,
            reloaded: false,
            scheduled_until,
            observation,
            first_pass,
            deadlines,
            runner: PassRunner::new(&options, &state),
            pass: None,
            requested: None,
            trigger: Trigger::Other,
            node_reports: NodeReports::default(),
            retries: Retries::default(),
            retry: None,
            last: None,
            watchdog: notify.watchdog_interval().map(|interval| Instant::now() + interval),
            started: now,
            published: None,
            options,
            _lock: lock,
        })
    }

    /// Sets the watches, and makes the pass that is due at the start, if one is.
    fn begin(&mut self) {
        self.changes.rearm_watches(&self.node);
        log::log_started(self.node.catalog.credentials.len());
        self.node.remarks().for_each(line::log_note);
        self.report_configuration();
        match self.first_pass.take() {
            Some(cause) => self.request_pass(cause),
            None => self.plan_exchange(None),
        }
    }

    /// Waits for the next event. None is lost.
    async fn next_event(&mut self) -> Event {
        let Self { signals, ticker, deadlines, changes, pass, retry, watchdog, notify, .. } = self;
        let node_reports = &mut self.node_reports;
        let clock = &*self.options.clock;
        let (quiet, watch_retry) = (changes.quiet_until(), changes.retry_at());
        let event = tokio::select! {
            biased;
            request = signals.next() => Event::Signal(request),
            () = sleep_until(*watchdog) => Event::Watchdog,
            end = wait_for_pass(pass) => Event::PassFinished(Box::new(end)),
            tick = ticker.next_tick() => Event::Tick(tick),
            text = deadlines.reach_next(clock) => Event::Deadline(text),
            () = sleep_until(retry.map(|(when, _)| when)) => Event::Retry,
            () = sleep_until(quiet) => Event::ChangesSettled,
            () = sleep_until(watch_retry) => Event::WatchRetry,
            end = node_reports.next_end() => Event::ExchangeFinished(end),
            () = changes.wait_for_hint() => Event::FileHint,
        };
        if matches!(event, Event::Watchdog) {
            *watchdog = notify.watchdog_interval().map(|interval| Instant::now() + interval);
        }
        event
    }

    fn handle_tick(&mut self, tick: Tick) {
        self.scheduled_until = self.options.clock.now().max(tick.at);
        let why = if tick.missed {
            format!("by schedule, missed at {}", tick.at)
        } else {
            "by schedule".to_owned()
        };
        self.request_pass(PassCause::new(why, Trigger::Scheduled));
    }

    fn handle_hint(&mut self) {
        self.changes.rearm_watches(&self.node);
        self.changes.note_hint();
        // The pass writes the file itself.
        if self.pass.is_none() && self.changes.take_order(&self.node) {
            self.request_pass(PassCause::new("an order about the root CA", Trigger::Other));
        }
    }

    /// Requests a pass if files changed since the last one, after a quiet time.
    fn handle_changes(&mut self) {
        if self.pass.is_some() {
            // The pass writes files itself; other changes are handled after it.
            return self.changes.postpone();
        }
        let changed = self.changes.take_changed(&self.node);
        if changed.is_empty() {
            return;
        }
        let files = changed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if self.retries.failures() > 0 && self.retry.is_some() {
            tracing::info!("{files} changed; the next attempt, after the failed one, checks it");
        } else {
            self.request_pass(PassCause::new(format!("{files} changed"), Trigger::Other));
        }
    }

    fn retry_pass(&mut self) {
        self.retry = None;
        self.request_pass(PassCause::new("tried again", self.trigger));
    }

    /// Makes a pass now, or after the present one.
    fn request_pass(&mut self, cause: PassCause) {
        if self.pass.is_some() {
            self.requested = Some(match self.requested.take() {
                Some(queued) => queued.merge(cause),
                None => cause,
            });
            return;
        }
        self.trigger = cause.trigger;
        // Here, and not at the tick: the first pass may have been under way then, and with it the
        // decision until when it only observes.
        if cause.trigger == Trigger::Scheduled {
            self.observation.end_by_schedule();
        }
        let now = self.options.clock.now();
        let observing_until = self.observation.begin_pass(&self.schedule, now);
        let reasons =
            observing_until.map(|until| DeferralReason::New { until }).into_iter().collect();
        let remember = ScheduleMemory { scheduled_until: self.scheduled_until, observing_until };
        self.retry = None;
        self.reloaded = false;
        let task =
            self.runner.begin_pass(&self.node, &self.configuration, cause, reasons, remember);
        self.pass = Some(tokio::spawn(task.run()));
    }

    /// Puts the schedule in force that the node has now: a pass may have found nodes that joined.
    fn update_schedule(&mut self) {
        let schedule = node_schedule(&self.node);
        if schedule != self.schedule {
            self.schedule = schedule;
            self.ticker.replace(self.schedule.clone());
        }
    }

    /// Reports a finished pass, and plans the next one if it is needed.
    fn finish_pass(&mut self, (finished, alarms): PassEnd) {
        self.pass = None;
        self.observation.finish_pass(finished.survey().map(|(_, clock_trust)| clock_trust));
        if let Some((survey, _)) = finished.survey() {
            self.deadlines = Deadlines::new(&self.node, survey);
        }
        self.runner.reporter.report_pass(&finished, &alarms, &self.node);
        if let Some(pass) = ReportedPass::of(&finished) {
            self.plan_exchange(Some(pass));
        }
        let FinishedPass { last, node, result } = finished;
        let report = result.ok();
        // A node that was read again during the pass is newer.
        if let Some(node) = node.filter(|_| !self.reloaded) {
            self.node = node;
        }
        if let Some(report) = &report {
            self.changes.accept_written(&self.node, &report.written);
        }
        self.update_schedule();
        self.plan_retry(&last, report.as_ref());
        self.last = Some(last);
        self.changes.retry_watches(&self.node);
        if let Some(cause) = self.requested.take() {
            self.request_pass(cause);
        }
    }

    /// Plans the report to the cluster, at the start or of a pass.
    fn plan_exchange(&mut self, pass: Option<ReportedPass>) {
        self.node_reports.plan(LastPass {
            root: self.options.root.clone(),
            files: Arc::clone(&self.configuration.files),
            clock: Arc::clone(&self.options.clock),
            ledger: self.runner.reporter.ledger().clone(),
            pass,
        });
    }

    /// Whether a pass failed because a directory was replaced after systemd had opened it to the
    /// daemon. A restart by systemd helps, once: the next start finds the directory open, or
    /// records it as read-only.
    fn needs_restart(&self) -> bool {
        let replaced = if self.retries.failures() > 0 {
            self.read_only.find_new(&self.node.root, &original_files(&self.node))
        } else {
            None
        };
        if let Some(dir) = &replaced {
            let dir = dir.display();
            line::log_note(format_args!(
                "{dir} is no longer the directory that the unit opened to kubecertd; kubecertd \
                 exits, and systemd starts it again"
            ));
        }
        replaced.is_some()
    }

    /// Plans to retry a failed pass with exponential backoff, or a pass that deferred something. A
    /// failure that needs an operator is not retried: the change that repairs it is seen, or the
    /// next scheduled pass finds it.
    fn plan_retry(&mut self, last: &PassSummary, report: Option<&Report>) {
        let failed = report.is_none_or(Report::failed);
        let waits_for_peers = report.map(Report::waits_for_peers);
        let recheck = report.and_then(|report| recheck_delay(report, self.options.clock.now()));
        let wait = self.retries.next_wait(failed, waits_for_peers, recheck, random_jitter());
        if let Some(wait) = wait.filter(|_| failed) {
            self.runner.reporter.report_retry(&last.why, wait);
        }
        self.retry = wait.map(|wait| (Instant::now() + wait, self.options.clock.now().plus(wait)));
    }

    /// Reads the configuration again. A wrong one is refused, and the old one stays in force.
    fn reload_configuration(&mut self) {
        self.notify.send_reloading();
        match LoadedConfiguration::read(&self.options) {
            Ok((configuration, node)) => {
                self.configuration = configuration;
                self.reloaded = true;
                self.changes.switch_node(&self.node, &node);
                self.node = node;
                self.update_schedule();
                self.deadlines.replace_policy(&self.node, self.options.clock.now());
                self.handle_hint();
                log::log_configuration_in_force();
            }
            Err(e) => {
                let trouble = e.to_string();
                log::log_configuration_refused("the old one stays", &trouble);
                self.configuration.trouble = Some(trouble);
            }
        }
        self.report_configuration();
        self.notify.send_ready(&self.activity());
    }

    fn report_configuration(&mut self) {
        let LoadedConfiguration { files, trouble } = &self.configuration;
        self.runner.reporter.apply_configuration(&self.node, files, trouble.as_deref());
    }

    /// Publishes the status to systemd and in the status file, if it changed.
    fn publish_status(&mut self) {
        let now = self.options.clock.now();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            updated: self.published.as_ref().map_or(now, |published| published.updated),
            line: self.activity(),
            configuration: self.configuration.trouble.clone(),
            last_pass: self.last.clone(),
            next_pass: self.schedule.next(now),
            next_try: self.retry.map(|(_, when)| when),
        };
        self.runner.reporter.set_next_pass(self.next_pass());
        if self.published.as_ref() == Some(&status) {
            return;
        }
        self.notify.send_status(&status.line);
        let status = Status { updated: now, ..status };
        if let Err(e) = status.write(&self.node.root) {
            line::log_note(format_args!("{e}; kubecertd status shows the previous status"));
        }
        self.published = Some(status);
    }

    /// The time of the next pass, by schedule or as a retry.
    fn next_pass(&self) -> Option<Timestamp> {
        let (retry, deadline) = (self.retry.map(|(_, when)| when), self.deadlines.next());
        let scheduled = self.schedule.next(self.options.clock.now());
        [scheduled, retry, deadline].into_iter().flatten().min()
    }

    fn activity(&self) -> String {
        activity(self.pass.is_some(), self.last.as_ref(), self.next_pass())
    }

    /// Stops at any time: the present pass is asked to stop and waited for, and the next start
    /// completes what it leaves.
    async fn stop(mut self) {
        self.notify.send_stopping();
        self.runner.request_stop();
        if let Some(pass) = self.pass.take()
            && tokio::time::timeout(SHUTDOWN_TIMEOUT, pass).await.is_err()
        {
            line::log_note("the running pass did not end in time; the next start completes it");
        }
        self.runner.reporter.stop().await;
        log::log_stopped();
    }
}

/// Every file that a pass may replace, except copies: a replaced directory of one does not restart
/// the daemon.
fn original_files(node: &Node) -> Vec<AbsolutePath> {
    let copies: BTreeSet<_> =
        node.catalog.copies().flat_map(|copy| copy.location.files()).collect();
    pass::files(node).into_iter().filter(|file| !copies.contains(file)).collect()
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn wait_for_pass(pass: &mut Option<JoinHandle<PassEnd>>) -> PassEnd {
    match pass {
        Some(pass) => pass.await.unwrap_or_else(|e| failed_by_fault(&e)),
        None => std::future::pending().await,
    }
}

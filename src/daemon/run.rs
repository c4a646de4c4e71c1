//! The main loop: what wakes the daemon, and what it does then.
//!
//! It does nothing itself that takes time. A pass runs on a thread of its own, one at a time; while
//! it does, the loop goes on turning, so that systemd sees it alive and a signal is heard at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::changes::Changes;
use super::configuration::{Options, configuration, keep, read, schedule};
use super::duty::{Done, Duty};
use super::log::{self, Said, outcome};
use super::metrics::Metrics;
use super::opened::Opened;
use super::pace::{begin, jitter, patience};
use super::schedule::{Schedule, Tick, Ticker};
use super::status::{self, LastPass, Status};
use super::{Backoff, DaemonError, Signals, Supervisor, Wish};
use crate::model::{AbsolutePath, Hold, Timestamp};
use crate::observe::{ConfigFile, Node};
use crate::pass::{self, Remember, Report};
use crate::plan::Occasion;
use crate::report::alarms::after_configuration;
use crate::report::sinks::Sinks;
use crate::report::{Ledger, Line, Message, PassId, line};
use crate::state::PassMemory;
use crate::store::is_unfinished;
use crate::store::lock::Lock;
use crate::sys::Root;

/// How long a pass that is under way is waited for at the end. What it has not begun by then is
/// left; what it has begun, the next start finishes.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// How long the daemon's lock is tried for: `kubecertd status` has it for a moment when it asks
/// whether a daemon runs.
const ASKED: Duration = Duration::from_secs(2);

/// Runs until it is told to stop.
///
/// # Errors
/// When it can't start. Once it runs, nothing but a signal ends it.
pub async fn run(options: Options) -> Result<(), DaemonError> {
    let mut daemon = Daemon::start(options).await?;
    daemon.supervisor.ready(&daemon.line());
    daemon.begin();
    loop {
        daemon.tell();
        match daemon.next().await {
            Event::Wish(Wish::Stop) => break,
            Event::Wish(Wish::Reload) => daemon.reload(),
            Event::Wish(Wish::Pass) => {
                daemon.want("asked for by a signal".to_owned(), Occasion::Asked)
            }
            Event::Tick(tick) => daemon.tick(tick),
            Event::Hint => daemon.hint(),
            Event::Quiet => daemon.compare(),
            Event::Retry => daemon.try_again(),
            Event::Done(done) => {
                daemon.digest(done);
                if daemon.is_shut_out() {
                    break;
                }
            }
            Event::Alive => daemon.supervisor.alive(),
        }
    }
    daemon.end().await;
    Ok(())
}

enum Event {
    Wish(Wish),
    Tick(Tick),
    Hint,
    Quiet,
    Retry,
    Done(Box<Done>),
    Alive,
}

struct Daemon {
    options: Options,
    supervisor: Supervisor,
    signals: Signals,
    ticker: Ticker,
    schedule: Schedule,
    changes: Changes,
    node: Node,
    /// The configuration was read again after the present pass began.
    reloaded: bool,
    configuration: Arc<Vec<ConfigFile>>,
    /// Why the configuration on disk is not the one in force.
    configuration_trouble: Option<String>,
    remember: Remember,
    first_pass: Option<(String, Occasion)>,
    pass: Option<JoinHandle<Done>>,
    /// Of the present pass, or else of the last one.
    pass_id: PassId,
    /// What a pass is wanted for when the present one has ended.
    wanted: Option<(String, Occasion)>,
    /// What the last pass was made for, and with it what it may do.
    occasion: Occasion,
    stop: Arc<AtomicBool>,
    backoff: Backoff,
    retry: Option<(Instant, Timestamp)>,
    last: Option<LastPass>,
    said: Said,
    ledger: Ledger,
    /// Those that are told of alarms.
    sinks: Option<Sinks>,
    metrics: Metrics,
    opened: Opened,
    alive: Option<Instant>,
    started: Timestamp,
    told: Option<Status>,
    _alone: Lock,
}

impl Daemon {
    async fn start(options: Options) -> Result<Self, DaemonError> {
        let root = || Root::open(&options.root).map_err(DaemonError::Root);
        let run = root()?.create_dir(&status::folder()).map_err(DaemonError::Root)?;
        let alone =
            Lock::take(&run, ASKED).or_else(|e| Err(DaemonError::from_lock(e, &root()?)))?;
        let signals = Signals::listen().map_err(DaemonError::Signals)?;
        let (configuration, node, trouble) = configuration(&options)?;
        if let Some(trouble) = &trouble {
            log::refused("the last good one is in force", trouble);
        }
        let now = options.clock.now();
        let schedule = schedule(&node);
        let (state, note) = PassMemory::read(&node.root, &node.settings.paths.state);
        note.iter().for_each(line::note);
        let unfinished = state.unfinished || is_unfinished(&node.root, &node.settings.paths.state);
        let (remember, first_pass) = begin(&state, unfinished, &schedule, now);
        let cannot_wait = || {
            pass::cannot_wait(&node, now)
                .then(|| ("something has ended or is broken".to_owned(), Occasion::Other))
        };
        let first_pass = first_pass.or_else(cannot_wait);
        let ticker =
            Ticker::start(schedule.clone(), Arc::clone(&options.clock), remember.scheduled_until)
                .await?;
        let changes = Changes::from_now(&node);
        let supervisor = Supervisor::find();
        let ledger = Ledger::default();
        let metrics = Metrics::new(&options, &state, &ledger);
        let opened = Opened::look(&node.root, &originals(&node));
        Ok(Self {
            supervisor,
            signals,
            ticker,
            schedule,
            changes,
            node,
            reloaded: false,
            configuration: Arc::new(configuration),
            configuration_trouble: trouble,
            remember,
            first_pass,
            pass: None,
            pass_id: PassId::default(),
            wanted: None,
            occasion: Occasion::Other,
            stop: Arc::new(AtomicBool::new(false)),
            backoff: Backoff::default(),
            retry: None,
            last: None,
            said: Said::default(),
            ledger,
            sinks: None,
            metrics,
            opened,
            alive: supervisor.pace().map(|pace| Instant::now() + pace),
            started: now,
            told: None,
            options,
            _alone: alone,
        })
    }

    /// Watches, and makes the pass that is due at the start, if one is.
    fn begin(&mut self) {
        self.changes.aim(&self.node);
        let (version, count) = (env!("CARGO_PKG_VERSION"), self.node.catalog.credentials.len());
        Line::info(Message::Started)
            .say(format_args!("kubecertd {version} looks after {count} credentials"));
        self.node.notes.iter().for_each(line::note);
        self.told_of_configuration();
        if let Some((why, occasion)) = self.first_pass.take() {
            self.want(why, occasion);
        }
    }

    /// Waits for whatever comes first. Nothing of what comes later is lost.
    async fn next(&mut self) -> Event {
        let Self { signals, ticker, changes, pass, retry, alive, supervisor, .. } = self;
        let quiet = changes.quiet();
        let event = tokio::select! {
            biased;
            wish = signals.next() => Event::Wish(wish),
            () = at(*alive) => Event::Alive,
            done = ended(pass) => Event::Done(Box::new(done)),
            tick = ticker.next_tick() => Event::Tick(tick),
            () = at(retry.map(|(when, _)| when)) => Event::Retry,
            () = at(quiet) => Event::Quiet,
            () = changes.hinted() => Event::Hint,
        };
        if matches!(event, Event::Alive) {
            *alive = supervisor.pace().map(|pace| Instant::now() + pace);
        }
        event
    }

    fn tick(&mut self, tick: Tick) {
        let now = self.options.clock.now();
        self.remember = Remember {
            scheduled_until: now.max(tick.at),
            observing_until: self.remember.observing_until.filter(|until| now < *until),
        };
        let why = if tick.missed {
            format!("by schedule, missed at {}", tick.at)
        } else {
            "by schedule".to_owned()
        };
        self.want(why, Occasion::Scheduled);
    }

    fn hint(&mut self) {
        self.changes.aim(&self.node);
        self.changes.hint();
    }

    /// It has been quiet for a while: is anything different from what the last pass left?
    fn compare(&mut self) {
        if self.pass.is_some() {
            // What the pass writes is its own; what somebody else writes meanwhile is looked at
            // after it.
            return self.changes.put_off();
        }
        let changed = self.changes.take(&self.node);
        if changed.is_empty() {
            return;
        }
        let files = changed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if self.backoff.failures() > 0 && self.retry.is_some() {
            tracing::info!("{files} changed; the next try, after the failed one, looks at it");
        } else {
            self.want(format!("{files} changed"), Occasion::Other);
        }
    }

    fn try_again(&mut self) {
        self.retry = None;
        let occasion = self.occasion;
        self.want("tried again".to_owned(), occasion);
    }

    /// Makes a pass now, or when the present one has ended.
    fn want(&mut self, why: String, occasion: Occasion) {
        if self.pass.is_some() {
            // What an operator or the schedule wants is more than what a change of files does.
            if self.wanted.as_ref().is_none_or(|(_, wanted)| *wanted == Occasion::Other) {
                self.wanted = Some((why, occasion));
            }
            return;
        }
        self.occasion = occasion;
        self.pass_id = PassId::new();
        Line::debug(Message::PassBegun)
            .pass(self.pass_id)
            .reason(&why)
            .say(format_args!("a pass begins: {why}"));
        let now = self.options.clock.now();
        let new = self
            .remember
            .observing_until
            .filter(|until| now < *until)
            .map(|until| Hold::New { until });
        let duty = Duty {
            root: self.options.root.clone(),
            configuration: Arc::clone(&self.configuration),
            clock: Arc::clone(&self.options.clock),
            stop: Arc::clone(&self.stop),
            why,
            occasion,
            holds: new.into_iter().collect(),
            remember: self.remember,
            state: (*self.node.settings.paths.state).clone(),
            ledger: self.ledger.clone(),
            configuration_trouble: self.configuration_trouble.clone(),
        };
        self.retry = None;
        self.reloaded = false;
        self.metrics.pass_begins();
        self.pass = Some(tokio::spawn(duty.work()));
    }

    /// What a pass found and did, and when the next one is needed.
    fn digest(&mut self, done: Box<Done>) {
        self.pass = None;
        self.metrics.passed(&done, &self.node);
        let Done { last, node, report, alarms, .. } = *done;
        // One that was read while the pass was made is newer.
        if let Some(node) = node.filter(|_| !self.reloaded) {
            self.node = node;
        }
        self.said.pass(self.pass_id, &last, report.as_ref(), self.options.clock.now());
        log::alarms(Some(self.pass_id), &alarms);
        if let Some(sinks) = &self.sinks {
            sinks.wake();
        }
        if let Some(report) = &report {
            self.changes.are_ours(&self.node, &report.written);
        }
        self.plan_retry(&last, report.as_ref());
        self.last = Some(last);
        self.changes.aim(&self.node);
        if let Some((why, occasion)) = self.wanted.take() {
            self.want(why, occasion);
        }
    }

    /// Whether a pass failed because a folder is another one now than the unit opened. Then only
    /// systemd can help, which starts what ended; once, since the next start finds it open, or
    /// takes it for closed.
    fn is_shut_out(&self) -> bool {
        let lost = if self.backoff.failures() > 0 {
            self.opened.lost(&self.node.root, &originals(&self.node))
        } else {
            None
        };
        if let Some(folder) = &lost {
            let folder = folder.display();
            line::note(format_args!(
                "{folder} is not the folder any more that the unit opened to kubecertd, which ends \
                 for that: systemd starts it again"
            ));
        }
        lost.is_some()
    }

    /// Failures are tried again with ever longer waits. What needs an operator is not: the change
    /// that mends it is seen, or the next scheduled pass finds it.
    fn plan_retry(&mut self, last: &LastPass, report: Option<&Report>) {
        let failed = report.is_none_or(Report::failed);
        let wait = if failed {
            let wait = self.backoff.fail(jitter());
            let (why, seconds) = (&last.why, wait.as_secs());
            let line = Line::warn(Message::PassFailed).pass(self.pass_id);
            line.say(format_args!("the pass failed ({why}): it is tried again in {seconds} s"));
            Some(wait)
        } else {
            self.backoff.reset();
            report.and_then(|report| patience(report, self.options.clock.now()))
        };
        self.retry = wait.map(|wait| (Instant::now() + wait, self.options.clock.now().plus(wait)));
    }

    /// Reads the configuration again. A bad one is refused, and the old one goes on.
    fn reload(&mut self) {
        self.supervisor.reloading();
        match read(&self.options) {
            Ok((files, node)) => {
                keep(&node, &files);
                self.configuration = Arc::new(files);
                self.configuration_trouble = None;
                self.schedule = schedule(&node);
                self.ticker.replace(self.schedule.clone());
                self.reloaded = true;
                self.changes.look_at(&self.node, &node);
                self.node = node;
                self.hint();
                Line::info(Message::ConfigurationInForce)
                    .say("the configuration was read again and is in force");
            }
            Err(e) => {
                let trouble = e.to_string();
                log::refused("the old one goes on", &trouble);
                self.configuration_trouble = Some(trouble);
            }
        }
        self.told_of_configuration();
        self.supervisor.ready(&self.line());
    }

    /// The configuration was read: whether it is in force is an alarm or the end of one, and who is
    /// told of alarms stands in it.
    fn told_of_configuration(&mut self) {
        let trouble = self.configuration_trouble.as_deref();
        log::alarms(
            None,
            &after_configuration(&self.ledger, &self.node, trouble, self.options.clock.now()),
        );
        self.sinks = match Root::open(&self.options.root) {
            Ok(root) => {
                Some(Sinks::start(&self.node, root, &self.ledger, Arc::clone(&self.options.clock)))
            }
            Err(e) => {
                line::note(format_args!("{e}; nobody is told of alarms"));
                None
            }
        };
        self.metrics.set_up(&self.node, &self.configuration);
    }

    /// Tells systemd and the status file, if there is something new.
    fn tell(&mut self) {
        let now = self.options.clock.now();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            updated: self.told.as_ref().map_or(now, |told| told.updated),
            line: self.line(),
            configuration: self.configuration_trouble.clone(),
            last_pass: self.last.clone(),
            next_pass: self.schedule.next(now),
            next_try: self.retry.map(|(_, when)| when),
        };
        self.metrics.next_pass([status.next_pass, status.next_try].into_iter().flatten().min());
        if self.told.as_ref() == Some(&status) {
            return;
        }
        self.supervisor.status(&status.line);
        let status = Status { updated: now, ..status };
        if let Err(e) = status.write(&self.node.root) {
            line::note(format_args!("{e}; kubecertd status shows what was said before"));
        }
        self.told = Some(status);
    }

    /// What the daemon is doing, in one line that an operator understands.
    fn line(&self) -> String {
        let next = || {
            let next =
                [self.schedule.next(self.options.clock.now()), self.retry.map(|(_, when)| when)];
            next.into_iter()
                .flatten()
                .min()
                .map_or_else(|| "no next pass".to_owned(), |next| format!("next pass {next}"))
        };
        match (&self.pass, &self.last) {
            (Some(_), _) => "a pass is being made".to_owned(),
            (None, None) => next(),
            (None, Some(last)) => {
                format!("last pass {}: {}; {}", last.began, outcome(last), next())
            }
        }
    }

    /// Leaves in the middle of anything: a pass is asked to stop and waited for, and whatever it
    /// leaves, the next start finishes.
    async fn end(mut self) {
        self.supervisor.stopping();
        self.stop.store(true, Ordering::Relaxed);
        if let Some(pass) = self.pass.take()
            && tokio::time::timeout(LAST_WORDS, pass).await.is_err()
        {
            line::note(
                "the pass under way did not end in time; the next start finishes what it began",
            );
        }
        Line::info(Message::Ended).say("kubecertd ends");
    }
}

/// Every file that a pass may replace, but for copies: for those the daemon does not end and begin
/// anew.
fn originals(node: &Node) -> Vec<AbsolutePath> {
    let copies: BTreeSet<_> =
        node.catalog.copies().flat_map(|copy| copy.location.files()).collect();
    pass::files(node).into_iter().filter(|file| !copies.contains(file)).collect()
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn ended(pass: &mut Option<JoinHandle<Done>>) -> Done {
    match pass {
        Some(pass) => pass.await.unwrap_or_else(|e| Done::fault(&e)),
        None => std::future::pending().await,
    }
}

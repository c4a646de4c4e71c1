//! Reports passes and configurations: to the journal, to the metrics, and to the alarm sinks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::alarms::{AlarmChanges, update_after_configuration};
use super::log::{self, PassEvents, PassLog};
use super::metrics::MetricsPublisher;
use super::nodes::Exchanged;
use super::sinks::{Sinks, deliver_once};
use super::{AlarmLedger, FinishedPass, PassId, line};
use crate::model::Timestamp;
use crate::observe::{ConfigFile, Node};
use crate::state::PassMemory;
use crate::sys::{Clock, Root};

/// Reports the passes of one process, one after the other.
pub struct Reporter {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    ledger: AlarmLedger,
    log: PassLog,
    metrics: MetricsPublisher,
    /// `None` before the configuration is reported, and in `run --once`.
    sinks: Option<Sinks>,
    /// Of the present pass, or else of the last one.
    pass: PassId,
    events: Arc<PassEvents>,
    /// Whether the last exchange with the cluster's API failed.
    exchange_failed: bool,
}

impl Reporter {
    /// A reporter that starts from the remembered passes in `state`.
    #[must_use]
    pub fn new(root: PathBuf, clock: Arc<dyn Clock>, state: &PassMemory) -> Self {
        let ledger = AlarmLedger::default();
        Self {
            log: PassLog::default(),
            metrics: MetricsPublisher::new(root.clone(), Arc::clone(&clock), state, &ledger),
            sinks: None,
            pass: PassId::default(),
            events: Arc::default(),
            exchange_failed: false,
            root,
            clock,
            ledger,
        }
    }

    /// The memory of alarms.
    #[must_use]
    pub fn ledger(&self) -> &AlarmLedger {
        &self.ledger
    }

    /// Reports that a pass begins, and returns the log of its events.
    pub fn report_begin(&mut self, why: &str) -> Arc<PassEvents> {
        self.pass = PassId::new();
        self.events = Arc::new(self.log.begin_pass(self.pass, self.clock.now()));
        log::log_pass_begun(self.pass, why);
        self.metrics.begin_pass();
        Arc::clone(&self.events)
    }

    /// Reports a finished pass and what changed of alarms. `node` is the node by the configuration
    /// in force.
    pub fn report_pass(&mut self, finished: &FinishedPass, alarms: &AlarmChanges, node: &Node) {
        self.metrics.end_pass(finished, node);
        let now = self.clock.now();
        self.log.end_pass(&self.events, &finished.last, finished.report(), now);
        log::log_alarms(Some(self.pass), alarms);
        if let Some(sinks) = &self.sinks {
            sinks.wake();
        }
    }

    /// Reports an exchange with the cluster's API: what changed of the alarms, and a failure where
    /// the one before it did not fail.
    pub fn report_exchange(&mut self, exchanged: &Exchanged) {
        if !self.exchange_failed {
            exchanged.trouble.iter().for_each(line::log_note);
        }
        self.exchange_failed = !exchanged.trouble.is_empty();
        log::log_alarms(None, &exchanged.alarms);
        if let Some(sinks) = self.sinks.as_ref().filter(|_| !exchanged.alarms.events.is_empty()) {
            sinks.wake();
        }
    }

    /// Reports that the last pass failed and is made again.
    pub fn report_retry(&self, why: &str, wait: Duration) {
        log::log_retry(self.pass, why, wait);
    }

    /// Reports a configuration that was read: its alarm is raised or cleared, and alarms and
    /// metrics are published as it says. `trouble` is why the one on disk is not in force.
    pub fn apply_configuration(
        &mut self,
        node: &Node,
        files: &Arc<Vec<ConfigFile>>,
        trouble: Option<&str>,
    ) {
        let changes = update_after_configuration(&self.ledger, node, trouble, self.clock.now());
        log::log_alarms(None, &changes);
        self.sinks = match Root::open(&self.root) {
            Ok(root) => Some(Sinks::start(node, root, &self.ledger, Arc::clone(&self.clock))),
            Err(e) => {
                line::log_note(format_args!("{e}; alarms are not delivered"));
                None
            }
        };
        self.metrics.apply_configuration(node, files);
    }

    /// Publishes the time of the next pass.
    pub fn set_next_pass(&self, next: Option<Timestamp>) {
        self.metrics.set_next_pass(next);
    }

    /// Publishes metrics and alarms once, where no daemon goes on with it. `found` is the node as
    /// the pass found it.
    pub async fn publish_once(self, node: &Node, found: Option<&Node>) {
        self.metrics.write_once(node);
        match Root::open(&self.root) {
            Ok(root) => {
                deliver_once(found.unwrap_or(node), root, &self.ledger, self.clock).await;
            }
            Err(e) => line::log_note(format_args!("{e}; alarms are not delivered")),
        }
    }

    /// Stops publishing: a command that runs for an alarm is killed, and a socket removed.
    pub async fn stop(self) {
        if let Some(sinks) = self.sinks {
            sinks.stop().await;
        }
        self.metrics.stop().await;
    }
}

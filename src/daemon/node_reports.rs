//! The daemon's exchanges with the cluster's API: one at its start, one after each pass, and one
//! every six hours.
//!
//! Each runs on the blocking pool, one at a time; no pass waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::timing::random_jitter;
use crate::observe::{ConfigFile, Node};
use crate::pass::survey;
use crate::plan::REPORT_INTERVAL;
use crate::report::AlarmLedger;
use crate::report::nodes::{Exchanged, ReportedPass, exchange};
use crate::sys::{Clock, Root};

/// The most that an exchange at the start or after a pass is delayed, so that the nodes of a large
/// cluster, which make their passes at the same time, do not call all at once.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The wait after an exchange that failed: the API server may be restarting.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);

/// The wait while control-plane nodes differ.
const COMPARE_INTERVAL: Duration = Duration::from_secs(3_600);

/// What an exchange needs, as of the last pass.
pub(super) struct LastPass {
    pub(super) root: PathBuf,
    pub(super) files: Arc<Vec<ConfigFile>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ledger: AlarmLedger,
    /// `None` before the first pass.
    pub(super) pass: Option<ReportedPass>,
}

/// The exchanges of the daemon.
#[derive(Default)]
pub(super) struct NodeReports {
    last: Option<Arc<LastPass>>,
    /// When the next one begins.
    due: Option<Instant>,
    task: Option<JoinHandle<Exchanged>>,
}

impl NodeReports {
    /// Plans the exchange at the start or after a pass.
    pub(super) fn plan(&mut self, last: LastPass) {
        self.last = Some(Arc::new(last));
        self.due = Some(Instant::now() + MAX_DELAY.mul_f64(random_jitter()));
    }

    /// Makes the exchanges when they are due, and returns when one ends. The wait may be dropped at
    /// any point and begun again.
    pub(super) async fn next_end(&mut self) -> Exchanged {
        loop {
            if let Some(task) = &mut self.task {
                let ended = task.await;
                self.task = None;
                let exchanged = ended.unwrap_or_else(|e| failed(format!("{e}; please report it")));
                // The pass that ended meanwhile has its own.
                self.due.get_or_insert(Instant::now() + wait_after(&exchanged, random_jitter()));
                return exchanged;
            }
            let (Some(due), Some(last)) = (self.due, self.last.clone()) else {
                return std::future::pending().await;
            };
            sleep_until(due).await;
            self.due = None;
            self.task = Some(spawn_blocking(move || last.exchange()));
        }
    }
}

impl LastPass {
    /// Makes the exchange.
    pub(super) fn exchange(&self) -> Exchanged {
        let node = Root::open(&self.root)
            .map_err(|e| e.to_string())
            .and_then(|root| Node::with_files(root, &self.files).map_err(|e| e.to_string()));
        match node {
            Ok(node) => {
                let look = || ReportedPass::before_any(&survey(&node, self.clock.now()));
                let pass = self.pass.clone().unwrap_or_else(look);
                exchange(&node, &pass, &self.ledger, &*self.clock)
            }
            Err(trouble) => failed(trouble),
        }
    }
}

fn failed(trouble: String) -> Exchanged {
    Exchanged { trouble: vec![trouble], ..Exchanged::default() }
}

/// The wait after an exchange; `jitter` is a random number from 0 to 1.
fn wait_after(exchanged: &Exchanged, jitter: f64) -> Duration {
    let least = match () {
        () if !exchanged.trouble.is_empty() => RETRY_INTERVAL,
        () if exchanged.differs => COMPARE_INTERVAL,
        () => REPORT_INTERVAL,
    };
    least.mul_f64(1.0 + 0.1 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_depends_on_outcome_and_is_jittered() {
        let fine = Exchanged::default();
        let differs = Exchanged { differs: true, ..Exchanged::default() };
        let minutes = |exchanged: &Exchanged, jitter| wait_after(exchanged, jitter).as_secs() / 60;
        assert_eq!((minutes(&fine, 0.0), minutes(&fine, 1.0)), (360, 396));
        assert_eq!((minutes(&differs, 0.0), minutes(&failed(String::new()), 0.0)), (60, 10));
    }

    #[tokio::test]
    async fn exchange_follows_pass_and_plans_the_next() {
        let disk = tempfile::tempdir().unwrap();
        let last = LastPass {
            root: disk.path().join("missing"),
            files: Arc::default(),
            clock: Arc::new(crate::sys::SystemClock),
            ledger: AlarmLedger::default(),
            pass: None,
        };
        let mut reports = NodeReports::default();
        reports.plan(last);
        let planned = Instant::now();
        assert!(reports.due.is_some_and(|due| due <= planned + MAX_DELAY));
        reports.due = Some(planned);
        let exchanged = reports.next_end().await;
        assert!(exchanged.trouble[0].contains("missing"), "{exchanged:?}");
        assert!(reports.due.is_some_and(|due| due >= planned + RETRY_INTERVAL));
    }
}

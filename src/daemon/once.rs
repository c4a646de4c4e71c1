//! `kubecertd run --once`: one pass like the daemon's, for those who want no resident process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::configuration::{Options, configuration};
use super::duty::{Done, Duty};
use super::log::{self, Said};
use super::metrics::Metrics;
use super::status::LastPass;
use super::{DaemonError, Supervisor};
use crate::pass::{Remember, Report};
use crate::plan::Occasion;
use crate::report::sinks::tell_once;
use crate::report::{Ledger, PassId, line};
use crate::state::PassMemory;
use crate::sys::Root;

/// Makes one pass.
///
/// # Errors
/// When the configuration is wrong and there is no earlier one. What goes wrong in the
/// pass is in what it returns.
pub async fn once(options: Options) -> Result<(LastPass, Option<Report>), DaemonError> {
    let (configuration, node, trouble) = configuration(&options)?;
    if let Some(trouble) = &trouble {
        log::refused("the last good one is in force", trouble);
    }
    Supervisor::find().ready("a pass is being made");
    let ledger = Ledger::default();
    let duty = Duty {
        root: options.root.clone(),
        configuration: Arc::new(configuration),
        remember: Remember { scheduled_until: options.clock.now(), observing_until: None },
        clock: Arc::clone(&options.clock),
        stop: Arc::new(AtomicBool::new(false)),
        why: "run --once".to_owned(),
        occasion: Occasion::Scheduled,
        holds: Vec::new(),
        state: (*node.settings.paths.state).clone(),
        ledger: ledger.clone(),
        configuration_trouble: trouble,
    };
    let mut metrics = Metrics::new(
        &options,
        &PassMemory::read(&node.root, &node.settings.paths.state).0,
        &ledger,
    );
    metrics.pass_begins();
    let done = duty.work().await;
    metrics.passed(&done, &node);
    metrics.write_once(&node);
    let Done { last, node: found, report, alarms, .. } = done;
    let id = PassId::new();
    Said::default().pass(id, &last, report.as_ref(), options.clock.now());
    log::alarms(Some(id), &alarms);
    match Root::open(&options.root) {
        Ok(root) => tell_once(found.as_ref().unwrap_or(&node), root, &ledger, options.clock).await,
        Err(e) => line::note(format_args!("{e}; nobody is told of alarms")),
    }
    Ok((last, report))
}

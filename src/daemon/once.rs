//! `kubecertd run --once`: one pass like the daemon's, for those who want no resident process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::configuration::{Options, configuration};
use super::duty::{Done, Duty};
use super::status::LastPass;
use super::{DaemonError, Supervisor};
use crate::pass::{Remember, Report};
use crate::plan::Occasion;

/// Makes one pass.
///
/// # Errors
/// When the configuration is wrong and there is no earlier one. What goes wrong in the pass is in what it returns.
pub async fn once(options: Options) -> Result<(LastPass, Option<Report>), DaemonError> {
    let (configuration, node, trouble) = configuration(&options)?;
    if let Some(trouble) = trouble {
        tracing::error!("the configuration is refused, and the last good one is in force: {trouble}");
    }
    drop(node);
    Supervisor::find().ready("a pass is being made");
    let duty = Duty {
        root: options.root,
        configuration: Arc::new(configuration),
        remember: Remember { scheduled_until: options.clock.now(), observing_until: None },
        clock: options.clock,
        stop: Arc::new(AtomicBool::new(false)),
        why: "run --once".to_owned(),
        occasion: Occasion::Scheduled,
        holds: Vec::new(),
    };
    let Done { last, report, .. } = duty.work().await;
    Ok((last, report))
}

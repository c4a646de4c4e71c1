//! `kubecertd run`: the daemon, and where its log goes.

use std::io::IsTerminal as _;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use super::arguments::{Arguments, RunOptions};
use super::{Exit, Failure, out, renew};
use crate::daemon::{self, DaemonError};
use crate::observe::Config;
use crate::sys::SystemClock;

/// What others than us have to say is only of interest when it is a warning; and the scheduler calls it an error when it is
/// asked less than it could answer.
const LOG: &str = "warn,kubecertd=info,tokio_cron_scheduler=off";

pub(super) fn run(arguments: &Arguments, options: &RunOptions) -> Result<Exit, Failure> {
    log();
    let config = arguments.config.clone().map_or(Config::Usual, Config::Given);
    let daemon = daemon::Options { root: arguments.root.clone(), config, clock: Arc::new(SystemClock) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Runtime)?;
    let exit = if options.once { runtime.block_on(once(daemon))? } else { runtime.block_on(daemon::run(daemon)).map(|()| Exit::Fine)? };
    // A pass that did not end in time is not waited for: whatever it leaves, the next start finishes.
    runtime.shutdown_background();
    Ok(exit)
}

async fn once(options: daemon::Options) -> Result<Exit, DaemonError> {
    let (last, report) = daemon::once(options).await?;
    if let Some(trouble) = &last.trouble {
        out::complain(trouble);
    }
    for (name, reason) in &last.failed {
        out::complain(&format!("{name}: {reason}"));
    }
    for (name, reason) in &last.not_refreshed {
        out::complain(&format!("{name}: {reason}"));
    }
    let renewed: Vec<_> = last.renewed.iter().map(ToString::to_string).collect();
    let waiting = last.waiting.iter().map(|(name, reason)| format!("{name} waits: {reason}\n"));
    let renewed = if renewed.is_empty() { "Nothing renewed.\n".to_owned() } else { format!("Renewed: {}.\n", renewed.join(", ")) };
    out::say(&(waiting.collect::<String>() + &renewed));
    Ok(report.as_ref().map_or(Exit::Failed, renew::exit))
}

/// To standard error. The journal knows the time itself, and colours are for a terminal.
fn log() {
    let filter = EnvFilter::try_from_env("KUBECERTD_LOG").unwrap_or_else(|_| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_target(false);
    let log = log.with_ansi(std::io::stderr().is_terminal());
    // Set already in a test, perhaps.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() { log.without_time().try_init() } else { log.try_init() };
}

//! The configuration of the daemon: the one on disk, or the last good one, and the schedule that
//! follows from it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::DaemonError;
use super::schedule::{Schedule, stable_delay};
use crate::model::AbsolutePath;
use crate::observe::{Config, ConfigFile, Node, NodeError};
use crate::report::line;
use crate::state::{read_last_good_configuration, write_last_good_configuration};
use crate::sys::{Clock, Root};

/// What the daemon is started with.
#[derive(Clone)]
pub struct Options {
    /// The root folder.
    pub root: PathBuf,
    /// Where the configuration is.
    pub config: Config,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// The configuration on disk, or else the last good one, with what is wrong with that on disk.
pub(super) fn configuration(
    options: &Options,
) -> Result<(Vec<ConfigFile>, Node, Option<String>), DaemonError> {
    match read(options) {
        Ok((files, node)) => {
            keep(&node, &files);
            Ok((files, node, None))
        }
        Err(trouble) => {
            let root = Root::open(&options.root).map_err(DaemonError::Root)?;
            let Some((files, node)) = last_good(root)? else { return Err(trouble.into()) };
            Ok((files, node, Some(trouble.to_string())))
        }
    }
}

/// The last configuration that was right, and the node by it; `None` where there was none yet.
pub(crate) fn last_good(root: Root) -> Result<Option<(Vec<ConfigFile>, Node)>, NodeError> {
    // The bad one may name another state folder, and then it can't be known: the usual one it is.
    let (files, note) =
        read_last_good_configuration(&root, &AbsolutePath::constant("/var/lib/kubecertd"));
    note.iter().for_each(line::note);
    let Some(files) = files else { return Ok(None) };
    let node = Node::with_files(root, &files)?;
    Ok(Some((files, node)))
}

/// The configuration on disk, and the node by it.
pub(super) fn read(options: &Options) -> Result<(Vec<ConfigFile>, Node), NodeError> {
    let root = Root::open(&options.root)?;
    let files = options.config.read(&root)?;
    let node = Node::with_files(root, &files)?;
    Ok((files, node))
}

/// Keeps a configuration that was found right.
pub(super) fn keep(node: &Node, files: &[ConfigFile]) {
    let state = &node.settings.paths.state;
    if read_last_good_configuration(&node.root, state).0.as_deref() != Some(files)
        && let Err(e) = write_last_good_configuration(&node.root, state, files)
    {
        line::note(format_args!("{e}; there is no configuration to fall back on"));
    }
}

/// When passes are made by schedule on this node.
pub(super) fn schedule(node: &Node) -> Schedule {
    let schedule = &node.settings.schedule;
    let delay = if node.catalog.etcd_members > 1 { own_delay(node) } else { Duration::ZERO };
    Schedule::new((*schedule.cron).clone(), (*schedule.time_zone).clone(), delay)
}

fn own_delay(node: &Node) -> Duration {
    let id = node.root.read(&AbsolutePath::constant("/etc/machine-id"), 1024);
    let id = id
        .map(|content| String::from_utf8_lossy(content.bytes.expose()).trim().to_owned())
        .unwrap_or_default();
    stable_delay(&id, node.settings.schedule.spread.as_duration())
}

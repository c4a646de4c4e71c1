//! The configuration of the daemon: the one on disk, or the last good one, and its schedule.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::DaemonError;
use super::schedule::{Schedule, stable_delay};
use crate::model::AbsolutePath;
use crate::observe::{Config, ConfigFile, Node, NodeError};
use crate::plan::etcd_members;
use crate::report::line;
use crate::state::{
    read_last_good_configuration, read_service_memory, write_last_good_configuration,
};
use crate::sys::{Clock, Root};

/// The options of the daemon.
#[derive(Clone)]
pub struct Options {
    /// The root directory.
    pub root: PathBuf,
    /// Where the configuration is.
    pub config: Config,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// A configuration that is in force.
#[derive(Clone)]
pub(super) struct LoadedConfiguration {
    /// Its files.
    pub(super) files: Arc<Vec<ConfigFile>>,
    /// Why the configuration on disk is not the one in force.
    pub(super) trouble: Option<String>,
}

impl LoadedConfiguration {
    /// Loads the configuration on disk, or else the last good one, and the node by it.
    pub(super) fn load(options: &Options) -> Result<(Self, Node), DaemonError> {
        match Self::read(options) {
            Ok(loaded) => Ok(loaded),
            Err(trouble) => {
                let root = Root::open(&options.root).map_err(DaemonError::Root)?;
                let Some((files, node)) = last_good(root)? else { return Err(trouble.into()) };
                Ok((Self { files: Arc::new(files), trouble: Some(trouble.to_string()) }, node))
            }
        }
    }

    /// Reads the configuration on disk, and keeps it as the last good one.
    pub(super) fn read(options: &Options) -> Result<(Self, Node), NodeError> {
        let root = Root::open(&options.root)?;
        let files = options.config.read(&root)?;
        let node = Node::with_files(root, &files)?;
        keep(&node, &files);
        Ok((Self { files: Arc::new(files), trouble: None }, node))
    }
}

/// The last good configuration, and the node by it; `None` where there was none.
pub(crate) fn last_good(root: Root) -> Result<Option<(Vec<ConfigFile>, Node)>, NodeError> {
    // A wrong configuration does not say where the state directory is: the default is used.
    let (files, note) =
        read_last_good_configuration(&root, &AbsolutePath::constant("/var/lib/kubecertd"));
    note.iter().for_each(line::log_note);
    let Some(files) = files else { return Ok(None) };
    let node = Node::with_files(root, &files)?;
    Ok(Some((files, node)))
}

/// Keeps a valid configuration as the last good one.
fn keep(node: &Node, files: &[ConfigFile]) {
    let state = &node.settings.paths.state;
    if read_last_good_configuration(&node.root, state).0.as_deref() != Some(files)
        && let Err(e) = write_last_good_configuration(&node.root, state, files)
    {
        line::log_note(format_args!("{e}; there is no configuration to fall back on"));
    }
}

/// The schedule of this node.
pub(super) fn node_schedule(node: &Node) -> Schedule {
    let schedule = &node.settings.schedule;
    let delay = if has_peers(node) { own_delay(node) } else { Duration::ZERO };
    Schedule::new((*schedule.cron).clone(), (*schedule.time_zone).clone(), delay)
}

/// Whether other nodes are known to have an etcd or an API server of this cluster: by the manifest,
/// or by what they last answered.
fn has_peers(node: &Node) -> bool {
    let (memory, _) = read_service_memory(&node.root, &node.settings.paths.state);
    etcd_members(node.catalog.etcd_members, memory.etcd_members) > 1 || memory.other_api_servers > 0
}

fn own_delay(node: &Node) -> Duration {
    let id = node.root.read(&AbsolutePath::constant("/etc/machine-id"), 1024);
    let id = id
        .map(|content| String::from_utf8_lossy(content.bytes.expose()).trim().to_owned())
        .unwrap_or_default();
    stable_delay(&id, node.settings.schedule.spread.as_duration())
}

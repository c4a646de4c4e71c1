//! Open connections on which a service may have presented a credential.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::look::{Observer, RunningService};
use super::refused::explain;
use super::together::run_blocking;
use crate::drivers::processes::{ProcessError, all};
use crate::drivers::sockets::established;
use crate::sys::Root;

/// Returns the service's connections to a port of any machine, by the kernel's cookies.
pub(super) async fn of(
    look: &Observer,
    running: &Arc<RunningService>,
    port: u16,
) -> Result<Vec<u64>, String> {
    let (root, running) = (Arc::clone(&look.root), Arc::clone(running));
    run_blocking(move || {
        let open = established(port).map_err(|e| e.to_string())?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let own = sockets(&root, &running)?;
        Ok(open
            .into_iter()
            .filter(|connection| own.contains(&connection.inode))
            .map(|connection| connection.cookie)
            .collect())
    })
    .await
}

/// Returns all sockets of all its processes.
fn sockets(root: &Root, running: &RunningService) -> Result<BTreeSet<u64>, String> {
    let mut sockets = BTreeSet::new();
    for process in all(root).map_err(|e| e.to_string())? {
        if !running.has(root, process) {
            continue;
        }
        match process.sockets(root) {
            Ok(more) => sockets.extend(more),
            Err(ProcessError::Ended(_)) => {}
            Err(e) => return Err(explain(&e)),
        }
    }
    Ok(sockets)
}

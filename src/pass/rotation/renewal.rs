//! The renewal of the root CA that kubecertd begins by itself, where the configuration says so.

use super::kept::{Rotation, read_rotation, root_authority};
use super::order::OrderError;
use super::start::{Replacement, StartOrder, start};
use crate::credentials::load_authority;
use crate::model::{ClockTrust, Timestamp};
use crate::observe::{Node, host_name};
use crate::pass::Pass;

impl Pass<'_> {
    /// Begins the renewal where it is time for it, and nothing on this node defers it. Where
    /// several nodes begin at once, the cluster takes one of them.
    pub(super) fn renew_root(&mut self) -> Result<Option<Rotation>, String> {
        let node = self.node;
        let now = self.orders.clock.now();
        if !self.may_renew_root() || !is_due(node, now) {
            return Ok(None);
        }
        let order = StartOrder {
            replacement: Replacement::Renewed,
            is_stepwise: false,
            operator: format!("kubecertd@{}", host_name(&node.root)),
            trust_clock: false,
        };
        match start(node, order, now) {
            Ok(_) => read_rotation(node).map_err(|e| e.to_string()),
            // The next pass follows that of another node.
            Err(OrderError::UnderWay) => Ok(None),
            Err(error) => Err(format!("it is due to be renewed: {error}")),
        }
    }

    fn may_renew_root(&self) -> bool {
        let constraints = &self.report.constraints;
        self.node.root.is_host()
            && self.node.catalog.administrator().is_some()
            && self.orders.request.only.is_empty()
            && !matches!(constraints.clock_trust, ClockTrust::NotTrusted(_))
            && constraints.reasons.is_empty()
    }
}

/// Whether the root CA expires within the time that the configuration states, and its key is on
/// this node.
pub(super) fn is_due(node: &Node, now: Timestamp) -> bool {
    let renew_before = node.settings.root_ca.renew_before.as_duration();
    if renew_before.is_zero() {
        return false;
    }
    let Ok(authority) = root_authority(node) else { return false };
    let loaded = load_authority(&node.root, authority);
    let signer = loaded.signer(now);
    signer.is_some_and(|(root, _)| root.not_after < now.plus(renew_before))
}

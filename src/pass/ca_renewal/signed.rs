//! A CA certificate that is signed again with its own key, and every certificate of the node
//! verified by it.

use std::time::Duration;

use super::error::CaRenewalError;
use crate::credentials::load;
use crate::formats::kubeadm::ca_certificate_validity;
use crate::formats::x509::{
    Certificate, PrivateKey, Terms, lost_leaves, random_serial, renew_root,
};
use crate::model::{ClockTrust, Timestamp, days};
use crate::observe::Node;
use crate::pass::decision::clock_trust;
use crate::store::LARGEST_FILE;

/// The least that a renewal has to gain: a command that is run twice makes no second certificate.
const LEAST_GAIN: Duration = days(30);

/// How much earlier the validity begins where the clock is not synchronised: other nodes must not
/// take the CA for one that is not valid yet.
const BACKDATE_UNSYNCHRONISED: Duration = days(1);

/// Signs a CA certificate again with its own key, for as long as it was valid, or as kubeadm's
/// configuration says. All certificates of this node that it signed verify by the new one.
///
/// # Errors
/// When one of them would not, or nothing would be gained.
pub(in crate::pass) fn renewed(
    node: &Node,
    old: &Certificate,
    key: &PrivateKey,
    backdate: Duration,
    now: Timestamp,
) -> Result<Certificate, CaRenewalError> {
    let terms = Terms {
        serial: random_serial()?,
        not_before: now.minus(backdate).max(old.not_before),
        not_after: now.plus(ca_validity(node, old)),
    };
    if terms.not_after < old.not_after.plus(LEAST_GAIN) {
        let (new, old) = (terms.not_after, old.not_after);
        return Err(CaRenewalError::NotLonger { new, old });
    }
    let new = Certificate::from_der(&renew_root(old, key, &terms)?)?;
    check_leaves(node, &new, old)?;
    Ok(new)
}

/// Every certificate on this node that verifies by the old certificate has to verify by the new
/// one, for Go and for OpenSSL.
pub(super) fn check_leaves(
    node: &Node,
    new: &Certificate,
    old: &Certificate,
) -> Result<(), CaRenewalError> {
    let credentials = &node.catalog.credentials;
    let leaves: Vec<_> = credentials
        .iter()
        .filter_map(|one| Some((one.name.to_string(), load(&node.root, one).stored()?.certificate)))
        .collect();
    let lost = lost_leaves(old, new, leaves.iter().map(|(_, leaf)| leaf));
    if lost.is_empty() {
        return Ok(());
    }
    let name = |lost: &Certificate| {
        let mut named = leaves.iter().filter(|(_, leaf)| leaf == lost);
        named.next().map_or_else(String::new, |(name, _)| name.clone())
    };
    Err(CaRenewalError::Lost(lost.into_iter().map(|(leaf, loss)| (name(leaf), loss)).collect()))
}

/// How long before now the validity of a renewed CA certificate begins.
pub(super) fn backdate(
    node: &Node,
    trust_clock: bool,
    now: Timestamp,
) -> Result<Duration, CaRenewalError> {
    match clock_trust(node, trust_clock, now) {
        ClockTrust::Trusted => Ok(node.settings.renewal.backdate.as_duration()),
        ClockTrust::TrustedUnsynchronised => Ok(BACKDATE_UNSYNCHRONISED),
        ClockTrust::NotTrusted(reason) => Err(CaRenewalError::Clock(reason)),
    }
}

/// How long a CA certificate is valid that takes the place of this one: as kubeadm's configuration
/// says, or as long as it was.
pub(in crate::pass) fn ca_validity(node: &Node, old: &Certificate) -> Duration {
    let configuration = node.root.read_root_only(&node.settings.paths.kubeadm, LARGEST_FILE).ok();
    let stated = configuration.and_then(|content| {
        let text = String::from_utf8(content.bytes.expose().to_vec()).ok()?;
        ca_certificate_validity(&text).ok()?
    });
    let seconds = old.not_after.seconds_since(old.not_before);
    let as_before = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    stated.unwrap_or(as_before)
}

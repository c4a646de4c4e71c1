//! The renewal of the root CA with its own key on this node, and the renewed certificate of another
//! node put in place here. Neither needs the API server.
//!
//! Every certificate that the root has issued stays valid; only what trusts the root changes. The
//! renewed certificate is made once and put in place on all nodes, byte for byte: where nodes had
//! different ones, kube-controller-manager would rewrite all its copies at every change of its
//! leader.

use std::fmt::Write as _;
use std::time::Duration;

use super::decision::clock_trust;
use super::memory::{note_put_in_place, replaced_ca_certificates};
use super::new_root::list;
use super::{PassError, open_store};
use crate::act::{RootReplacement, replace_root_certificate};
use crate::credentials::{
    LoadedAuthority, LoadedKey, ObservedFiles, load, load_authority, with_authority_renewed,
};
use crate::formats::kubeadm::ca_certificate_validity;
use crate::formats::x509::{
    Certificate, IssueError, LeafLoss, PrivateKey, ReadError, RenewRootError, Terms, certificates,
    lost_leaves, random_serial, renew_root,
};
use crate::model::{
    Authority, ClockTrust, CredentialName, InvalidName, RootRelation, Secret, Timestamp, days,
};
use crate::observe::{Node, Platform, trust_files};
use crate::plan::{RootFault, root_faults};
use crate::store::{self, Change, Generation, LARGEST_FILE, Store, StoreError};
use crate::sys::FileError;

/// The least that a renewal has to gain: a command that is run twice makes no second certificate.
const LEAST_GAIN: Duration = days(30);

/// How much earlier the validity begins where the clock is not synchronised: other nodes must not
/// take the root for one that is not valid yet.
const BACKDATE_UNSYNCHRONISED: Duration = days(1);

/// A renewed root CA that is in place.
#[derive(Debug)]
pub struct RenewedRoot {
    /// Its certificate.
    pub certificate: Certificate,
    /// The last valid second of the one before it.
    pub before: Timestamp,
    /// The files that were written, that of the root first; none where it was in place already.
    pub files: Vec<String>,
    /// The backup of what was replaced.
    pub backup: Option<Generation>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// Why the certificate of the root CA was not replaced. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum RootRenewalError {
    /// This kind of node is not supported.
    #[error(transparent)]
    Platform(PassError),
    /// The profile has no root CA, or its file can't be used.
    #[error("{0}")]
    Authority(String),
    /// The key is not on this node.
    #[error(
        "the key of the root CA can't be used here: {0}; renew it on the node that has the key, \
         and give its ca.crt to kubecertd ca trust on this one"
    )]
    NoKey(String),
    /// The clock is not trusted.
    #[error("{0}")]
    Clock(String),
    /// It would not be valid for much longer.
    #[error(
        "it would expire at {new}, and the present one expires at {old}: that is not worth another \
         certificate on all nodes"
    )]
    NotLonger {
        /// The end of the new one.
        new: Timestamp,
        /// The end of the present one.
        old: Timestamp,
    },
    /// Certificates would be lost.
    #[error("{}", lost(.0))]
    Lost(Vec<(String, LeafLoss)>),
    /// The file holds another CA.
    #[error(
        "it is not the root CA of this node ({0}) with a later end: only a certificate with the \
         same name, key and key identifier takes its place without any client noticing"
    )]
    Other(String),
    /// It can't be a root CA, in ways in which the present one can.
    #[error("it can't take the place of the present root CA: {}", list(.0))]
    Refused(Vec<RootFault>),
    /// It is not valid now.
    #[error("it is valid from {0} to {1}, and not now")]
    NotValid(Timestamp, Timestamp),
    /// The new certificate could not be made.
    #[error(transparent)]
    Renew(#[from] RenewRootError),
    /// There are no random bytes for a serial number.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was written can't be read.
    #[error("a written file can't be read back: {0}")]
    ReadBack(#[from] ReadError),
    /// What was written is not what was to be written.
    #[error("a written file, read back, does not hold the renewed certificate")]
    Changed,
    /// The name of the CA is no name, which should not happen.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

fn lost(leaves: &[(String, LeafLoss)]) -> String {
    let mut text = "certificates that the root CA issued would not be accepted any more".to_owned();
    for (name, loss) in leaves {
        let _ = write!(text, "; {name}: {loss}");
    }
    text
}

/// Renews the root CA of this node with its own key, and puts it in place.
///
/// # Errors
/// The first thing that is wrong.
pub fn renew(
    node: &Node,
    trust_clock: bool,
    now: Timestamp,
) -> Result<RenewedRoot, RootRenewalError> {
    let place = Place::of(node)?;
    let old = place.present(now)?;
    let LoadedAuthority::Present { key, .. } = &place.loaded else {
        return Err(RootRenewalError::Authority(place.trouble()));
    };
    let key = match key {
        LoadedKey::Usable(key) => key,
        LoadedKey::Absent => {
            let reason = format!("{} does not exist", place.authority.key);
            return Err(RootRenewalError::NoKey(reason));
        }
        LoadedKey::Unusable(reason) => return Err(RootRenewalError::NoKey(reason.clone())),
    };
    let backdate = backdate(node, trust_clock, now)?;
    let new = renewed(node, &old, key, backdate, now)?;
    place.put(new, &old, now)
}

/// Signs the root CA again with its own key, for as long as it was valid, or as kubeadm's
/// configuration says. All certificates of this node that it signed verify by the new one.
///
/// # Errors
/// When one of them would not, or nothing would be gained.
pub(super) fn renewed(
    node: &Node,
    old: &Certificate,
    key: &PrivateKey,
    backdate: Duration,
    now: Timestamp,
) -> Result<Certificate, RootRenewalError> {
    let terms = Terms {
        serial: random_serial()?,
        not_before: now.minus(backdate).max(old.not_before),
        not_after: now.plus(root_validity(node, old)),
    };
    if terms.not_after < old.not_after.plus(LEAST_GAIN) {
        let (new, old) = (terms.not_after, old.not_after);
        return Err(RootRenewalError::NotLonger { new, old });
    }
    let new = Certificate::from_der(&renew_root(old, key, &terms)?)?;
    check_leaves(node, &new, old)?;
    Ok(new)
}

/// Puts the root CA that another node renewed in place on this one.
///
/// # Errors
/// When it is another CA, or not valid, or the files can't be replaced.
pub fn trust(
    node: &Node,
    new: Certificate,
    now: Timestamp,
) -> Result<RenewedRoot, RootRenewalError> {
    let place = Place::of(node)?;
    let old = place.present(now)?;
    let is_renewal = match new.relation_to_root(&old, &[]) {
        RootRelation::Same => true,
        RootRelation::Renewed => new.not_after > old.not_after,
        _ => false,
    };
    if !is_renewal {
        return Err(RootRenewalError::Other(place.authority.certificate.to_string()));
    }
    let before = root_faults(&old.as_root());
    let mut refused = root_faults(&new.as_root());
    refused.retain(|fault| !before.contains(fault));
    if !refused.is_empty() {
        return Err(RootRenewalError::Refused(refused));
    }
    if !new.is_valid_at(now) {
        return Err(RootRenewalError::NotValid(new.not_before, new.not_after));
    }
    check_leaves(node, &new, &old)?;
    place.put(new, &old, now)
}

/// The root CA of a node.
struct Place<'n> {
    node: &'n Node,
    authority: &'n Authority,
    loaded: LoadedAuthority,
    store: Store<'n>,
    notes: Vec<String>,
}

impl<'n> Place<'n> {
    fn of(node: &'n Node) -> Result<Self, RootRenewalError> {
        if node.platform == Platform::StarlingX {
            return Err(RootRenewalError::Platform(PassError::Platform));
        }
        let no_root = || RootRenewalError::Authority("the profile has no root CA".to_owned());
        let authority = node.catalog.root_authority().ok_or_else(no_root)?;
        let (store, recovered) = open_store(node)?;
        let loaded = load_authority(&node.root, authority);
        Ok(Self { node, authority, loaded, store, notes: recovered.notes })
    }

    /// The certificate that is renewed: the one that signs, or would.
    fn present(&self, now: Timestamp) -> Result<Certificate, RootRenewalError> {
        let LoadedAuthority::Present { anchors, .. } = &self.loaded else {
            return Err(RootRenewalError::Authority(self.trouble()));
        };
        let found = anchors.candidate(now).cloned();
        found.ok_or_else(|| RootRenewalError::Authority(self.trouble()))
    }

    fn trouble(&self) -> String {
        let file = &self.authority.certificate;
        match &self.loaded {
            LoadedAuthority::Absent => format!("{file} does not exist"),
            LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
                reason.clone()
            }
            LoadedAuthority::Present { .. } => format!("{file} holds no root CA"),
        }
    }

    fn put(
        mut self,
        new: Certificate,
        old: &Certificate,
        now: Timestamp,
    ) -> Result<RenewedRoot, RootRenewalError> {
        let (node, authority) = (self.node, self.authority);
        let anchors: Vec<_> = self.loaded.anchors().collect();
        let kubeconfigs = node.catalog.kubeconfig_files();
        let RootReplacement { mut files, left } = replace_root_certificate(
            &node.root,
            &authority.certificate,
            &anchors,
            &new,
            &kubeconfigs,
        )?;
        let is_in_place = anchors.contains(&&new)
            && anchors.iter().filter(|one| one.is_of_same_ca(&new)).count() == 1;
        if is_in_place {
            files.retain(|file| file.path != authority.certificate);
        }
        let notes = std::mem::take(&mut self.notes).into_iter();
        let left = left.into_iter().map(|left| format!("{left}: it is not changed"));
        let mut renewed = RenewedRoot {
            certificate: new,
            before: old.not_after,
            files: files.iter().map(|file| file.path.to_string()).collect(),
            backup: None,
            notes: notes.chain(left).collect(),
        };
        if files.is_empty() {
            return Ok(renewed);
        }
        let (paths, change) = (
            files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(),
            Change {
                credential: CredentialName::new(authority.name.as_str())?,
                files,
                link: None,
                backup: store::Backup::Required,
            },
        );
        let new = &renewed.certificate;
        let trusted = || trust_files(&ObservedFiles::of(&node.root), &node.catalog);
        let trusted_before = trusted();
        let change = self.store.stage(change)?.check(|contents| {
            let written = paths.iter().zip(contents);
            let holds = |(path, content): (&_, &Secret)| {
                if *path == authority.certificate {
                    return Ok(certificates(content.expose())?.contains(new));
                }
                // Nothing is left to be replaced in it.
                Ok(matches!(with_authority_renewed(path, content, new), Ok(None)))
            };
            let all = written.map(holds).collect::<Result<Vec<_>, RootRenewalError>>()?;
            if all.into_iter().all(|holds| holds) { Ok(()) } else { Err(RootRenewalError::Changed) }
        })?;
        let keep = usize::from(node.settings.backups.keep.get());
        let commit = self.store.commit(vec![change], now, keep);
        commit.outcomes.into_iter().try_for_each(|outcome| outcome.result)?;
        renewed.backup = commit.backups.into_iter().next();
        renewed.notes.extend(commit.notes);
        let replaced = replaced_ca_certificates(&trusted_before, &trusted());
        let noted = note_put_in_place(node, &replaced, now);
        renewed.notes.extend(noted.err().map(|e| {
            format!(
                "{e}; the services that read CA certificates when they start are restarted at the \
                 next scheduled pass"
            )
        }));
        Ok(renewed)
    }
}

/// Every certificate on this node that verifies by the old certificate has to verify by the new
/// one, for Go and for OpenSSL.
fn check_leaves(node: &Node, new: &Certificate, old: &Certificate) -> Result<(), RootRenewalError> {
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
    Err(RootRenewalError::Lost(lost.into_iter().map(|(leaf, loss)| (name(leaf), loss)).collect()))
}

/// How long before now the validity of a renewed root begins.
fn backdate(node: &Node, trust_clock: bool, now: Timestamp) -> Result<Duration, RootRenewalError> {
    match clock_trust(node, trust_clock, now) {
        ClockTrust::Trusted => Ok(node.settings.renewal.backdate.as_duration()),
        ClockTrust::TrustedUnsynchronised => Ok(BACKDATE_UNSYNCHRONISED),
        ClockTrust::NotTrusted(reason) => Err(RootRenewalError::Clock(reason)),
    }
}

/// How long a root CA is valid that takes the place of this one: as kubeadm's configuration says,
/// or as long as it was.
pub(super) fn root_validity(node: &Node, old: &Certificate) -> Duration {
    let configuration = node.root.read_root_only(&node.settings.paths.kubeadm, LARGEST_FILE).ok();
    let stated = configuration.and_then(|content| {
        let text = String::from_utf8(content.bytes.expose().to_vec()).ok()?;
        ca_certificate_validity(&text).ok()?
    });
    let seconds = old.not_after.seconds_since(old.not_before);
    let as_before = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    stated.unwrap_or(as_before)
}

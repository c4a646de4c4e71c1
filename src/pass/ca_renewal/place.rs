//! The CAs of a node, and renewed certificates put in their place.

use std::time::Duration;

use super::error::CaRenewalError;
use super::signed::renewed;
use crate::act::{CaReplacement, replace_ca_certificate};
use crate::credentials::{LoadedAuthority, LoadedKey, load_authority, with_authority_renewed};
use crate::formats::x509::{Certificate, PrivateKey, certificates};
use crate::model::{AbsolutePath, Authority, AuthorityName, CredentialName, Secret, Timestamp};
use crate::observe::{Node, Platform};
use crate::pass::PassError;
use crate::store::{Backup, Change, Generation, Store};

/// CAs whose renewed certificates are in place.
#[derive(Debug)]
pub struct RenewedCas {
    /// Each of them, the root CA first.
    pub cas: Vec<RenewedCa>,
    /// The backup of what was replaced.
    pub backup: Option<Generation>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

impl RenewedCas {
    /// Whether a file was written: they may have been in place already.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.cas.iter().any(|ca| !ca.written.is_empty())
    }
}

/// A CA whose renewed certificate is in place.
#[derive(Debug)]
pub struct RenewedCa {
    /// Its name.
    pub name: AuthorityName,
    /// The file of its certificate.
    pub file: AbsolutePath,
    /// The certificate.
    pub certificate: Certificate,
    /// The last valid second of the one before it.
    pub before: Timestamp,
    /// The files that were written, its own first; none where it was in place already.
    pub written: Vec<AbsolutePath>,
}

/// The CAs of a node.
pub(super) struct Place<'n> {
    node: &'n Node,
    cas: Vec<NodeCa<'n>>,
    notes: Vec<String>,
}

/// A CA of a node.
pub(super) struct NodeCa<'n> {
    authority: &'n Authority,
    loaded: LoadedAuthority,
}

/// A certificate that takes the place of another one of the same CA.
pub(super) struct Replaced<'n> {
    authority: &'n Authority,
    anchors: Vec<Certificate>,
    pub(super) new: Certificate,
    pub(super) old: Certificate,
}

impl<'n> Place<'n> {
    pub(super) fn of(node: &'n Node) -> Result<Self, CaRenewalError> {
        if node.platform == Platform::StarlingX {
            return Err(CaRenewalError::Platform(PassError::Platform));
        }
        let mut authorities: Vec<_> = node.catalog.authorities.iter().collect();
        authorities.sort_by_key(|authority| !authority.root);
        let mut cas = Vec::<NodeCa<'n>>::new();
        for authority in authorities {
            // Two names may be of one file.
            if cas.iter().all(|other| other.authority.certificate != authority.certificate) {
                let loaded = load_authority(&node.root, authority);
                cas.push(NodeCa { authority, loaded });
            }
        }
        Ok(Self { node, cas, notes: Vec::new() })
    }

    /// The CAs, the root CA first.
    pub(super) fn cas(&self) -> &[NodeCa<'n>] {
        &self.cas
    }

    /// Notes what an operator should know.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Puts certificates in place, all in one transaction.
    pub(super) fn put(
        mut self,
        store: &mut Store<'_>,
        new: Vec<Replaced<'n>>,
        now: Timestamp,
    ) -> Result<RenewedCas, CaRenewalError> {
        let (mut cas, mut changes) = (Vec::new(), Vec::new());
        for replaced in new {
            let (change, left) = replaced.change(self.node)?;
            let left = left.into_iter().map(|left| format!("{left}: it is not changed"));
            self.notes.extend(left);
            let written: Vec<_> = change.files.iter().map(|file| file.path.clone()).collect();
            if !change.files.is_empty() {
                let is_in = |contents: &[Secret]| replaced.is_in(&written, contents);
                changes.push(store.stage(change)?.check(is_in)?);
            }
            cas.push(replaced.renewed(written));
        }
        if changes.is_empty() {
            return Ok(RenewedCas { cas, backup: None, notes: self.notes });
        }
        let keep = usize::from(self.node.settings.backups.keep.get());
        let commit = store.commit(changes, now, keep);
        commit.outcomes.into_iter().try_for_each(|outcome| outcome.result)?;
        self.notes.extend(commit.notes);
        let backup = commit.backups.into_iter().next();
        Ok(RenewedCas { cas, backup, notes: self.notes })
    }
}

impl<'n> NodeCa<'n> {
    pub(super) fn name(&self) -> &'n AuthorityName {
        &self.authority.name
    }

    pub(super) fn is_root(&self) -> bool {
        self.authority.root
    }

    /// Whether it expires up to a time, or can't be read, which is said then.
    pub(super) fn expires_until(&self, until: Timestamp, now: Timestamp) -> bool {
        match self.present(now) {
            Ok(present) => present.not_after <= until,
            Err(_) => !matches!(self.loaded, LoadedAuthority::Absent),
        }
    }

    /// It with a certificate that is signed again with its own key.
    pub(super) fn renewed(
        &self,
        node: &Node,
        backdate: Duration,
        now: Timestamp,
    ) -> Result<Replaced<'n>, CaRenewalError> {
        let (old, key) = (self.present(now)?, self.key()?);
        Ok(self.replaced_by(renewed(node, old, key, backdate, now)?, old))
    }

    /// The certificate that is renewed: the one that signs, or would.
    pub(super) fn present(&self, now: Timestamp) -> Result<&Certificate, CaRenewalError> {
        let file = &self.authority.certificate;
        let trouble = match &self.loaded {
            LoadedAuthority::Absent => format!("{file} does not exist"),
            LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
                reason.clone()
            }
            LoadedAuthority::Present { anchors, .. } => match anchors.candidate(now) {
                Some(found) => return Ok(found),
                None => format!("{file} holds no root CA"),
            },
        };
        Err(CaRenewalError::Authority(trouble))
    }

    /// Its key.
    fn key(&self) -> Result<&PrivateKey, CaRenewalError> {
        let reason = match &self.loaded {
            LoadedAuthority::Present { key: LoadedKey::Usable(key), .. } => return Ok(key),
            LoadedAuthority::Present { key: LoadedKey::Unusable(reason), .. } => reason.clone(),
            _ => format!("{} does not exist", self.authority.key),
        };
        Err(CaRenewalError::NoKey(reason))
    }

    pub(super) fn replaced_by(&self, new: Certificate, old: &Certificate) -> Replaced<'n> {
        Replaced {
            authority: self.authority,
            anchors: self.loaded.anchors().cloned().collect(),
            new,
            old: old.clone(),
        }
    }
}

impl Replaced<'_> {
    /// The change of all files that have the certificate, and the reason for each file that keeps
    /// the old one.
    fn change(&self, node: &Node) -> Result<(Change, Vec<String>), CaRenewalError> {
        let Self { authority, anchors, new, .. } = self;
        let kubeconfigs = if authority.root { node.catalog.kubeconfig_files() } else { Vec::new() };
        let CaReplacement { mut files, left } =
            replace_ca_certificate(&node.root, &authority.certificate, anchors, new, &kubeconfigs)?;
        let is_in_place = anchors.contains(new)
            && anchors.iter().filter(|one| one.is_of_same_ca(new)).count() == 1;
        if is_in_place {
            files.retain(|file| file.path != authority.certificate);
        }
        let credential = CredentialName::new(authority.name.as_str())?;
        Ok((Change { credential, files, link: None, backup: Backup::Required }, left))
    }

    /// Whether the files that were written have the certificate, and not the old one.
    fn is_in(&self, paths: &[AbsolutePath], contents: &[Secret]) -> Result<(), CaRenewalError> {
        for (path, content) in paths.iter().zip(contents) {
            let holds = if *path == self.authority.certificate {
                certificates(content.expose())?.contains(&self.new)
            } else {
                // Nothing is left to be replaced in it.
                matches!(with_authority_renewed(path, content, &self.new), Ok(None))
            };
            if !holds {
                return Err(CaRenewalError::Changed);
            }
        }
        Ok(())
    }

    fn renewed(self, written: Vec<AbsolutePath>) -> RenewedCa {
        let Self { authority, new, old, .. } = self;
        RenewedCa {
            name: authority.name.clone(),
            file: authority.certificate.clone(),
            certificate: new,
            before: old.not_after,
            written,
        }
    }
}

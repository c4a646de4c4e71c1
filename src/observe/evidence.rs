//! Evidence of whom a credential is for, where others than root can write its files. What those
//! files say is none: a certificate is public, and any user can put it there.

use std::collections::BTreeSet;

use super::Catalog;
use crate::credentials::{Backup, Loaded, LoadedAuthority, ObservedFiles, load};
use crate::formats::x509::{Certificate, is_for_the_same};
use crate::model::{
    AbsolutePath, BackupFacts, Credential, CredentialFacts, Identity, Leaf, OtherWriters, Signer,
};
use crate::state::KnownCertificates;
use crate::store::{Backups, Generation};

/// The names under which a server on this node is always asked for.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What root alone has written about the credentials. They are looked for where their kubeconfigs
/// refer to ([`crate::credentials::located`]).
pub(super) struct Evidence<'e> {
    pub(super) root: &'e ObservedFiles,
    pub(super) known: &'e KnownCertificates,
    pub(super) backups: &'e Backups,
}

impl Evidence<'_> {
    /// Whether others than root can write one of these files, and whether the certificate there is
    /// the credential's own. A file that can't be reached counts as theirs, unless it is missing.
    pub(super) fn other_writers(
        &self,
        located: &Credential,
        files: &BTreeSet<&AbsolutePath>,
        certificate: Option<&Certificate>,
        authority: Option<&LoadedAuthority>,
    ) -> Option<OtherWriters> {
        let writers = |file: &&AbsolutePath| match self.root.writable_by_others(file) {
            Ok(found) => found.map(|found| found.to_string()),
            Err(e) if e.is_not_found() => None,
            Err(e) => Some(e.to_string()),
        };
        let through = files.iter().find_map(writers)?;
        let identity =
            certificate.map_or(Identity::Unknown, |one| self.identity(located, one, authority));
        Some(OtherWriters { through, identity, issued: self.known.issued(&located.name) })
    }

    fn identity(
        &self,
        located: &Credential,
        certificate: &Certificate,
        authority: Option<&LoadedAuthority>,
    ) -> Identity {
        let known = self.known.certificate(&located.name);
        let known = known.or_else(|| self.backed_up(located, authority?));
        match known {
            None => Identity::Unknown,
            Some(known) if is_for_the_same(certificate, &known) => Identity::Known,
            Some(known) if certificate.subject == known.subject => Identity::OtherNames,
            Some(known) => Identity::OtherSubject(known.subject.to_string()),
        }
    }

    /// The certificate in the newest backup that holds it with its key, signed by its authority,
    /// and not with SHA-1: a user may have chosen it.
    fn backed_up(&self, located: &Credential, authority: &LoadedAuthority) -> Option<Certificate> {
        let is_signed = |one: &Certificate| {
            authority.signer_of(one) == Signer::Authority && !one.has_sha1_signature()
        };
        self.generations().find_map(|files| match load(&files, located) {
            Loaded::Whole(stored) => Some(stored.certificate).filter(is_signed),
            _ => None,
        })
    }

    /// The newest backup with a certificate of this authority. Where others than root
    /// can write the files, they may have put any certificate there before it was backed up: then
    /// the backup has to hold the key too, and what is remembered counts more.
    pub(super) fn usable_backup(
        &self,
        located: &Credential,
        authority: Option<&LoadedAuthority>,
        others_write: bool,
    ) -> Option<BackupFacts> {
        let authority = authority?;
        let known = self.known.certificate(&located.name);
        let usable = |files: Backup<'_>| {
            let others_write = others_write || files.generation.is_writable_by_others();
            let loaded = load(&files, located);
            let is_whole = matches!(loaded, Loaded::Whole(_));
            let certificate = loaded.stored()?.certificate;
            let is_own = || match &known {
                Some(known) => is_for_the_same(&certificate, known),
                None => !certificate.has_sha1_signature(),
            };
            let is_usable = authority.signer_of(&certificate) == Signer::Authority
                && (!others_write || (is_whole && is_own()));
            is_usable.then(|| BackupFacts {
                name: files.generation.to_string(),
                location: located.location.clone(),
                fingerprint: certificate.fingerprint,
                key_algorithm: certificate.key_algorithm.to_string(),
                key_can_be_made: certificate.key_algorithm.can_be_made(),
            })
        };
        self.generations().find_map(usable)
    }

    fn generations(&self) -> impl Iterator<Item = Backup<'_>> {
        let backup = |generation: Generation| Backup { backups: self.backups, generation };
        self.backups.generations().into_iter().map(backup)
    }
}

/// The profile says the subject of a credential, and the manifests its names: whatever is
/// remembered.
pub(super) fn add_profile_evidence(catalog: &Catalog, credentials: &mut [CredentialFacts]) {
    let node = node_name(credentials.iter());
    for facts in credentials {
        let Some(leaf) = facts.material.leaf() else { continue };
        let is_given = is_by_profile(catalog, &facts.credential, leaf, node.as_deref());
        if let Some(writers) = &mut facts.other_writers
            && is_given
        {
            writers.identity = Identity::Known;
        }
    }
}

/// The name of this node, as kubelet's certificate or kubeconfig has it.
#[must_use]
pub fn node_name<'f>(credentials: impl Iterator<Item = &'f CredentialFacts>) -> Option<String> {
    let is_certain = |facts: &&CredentialFacts| {
        facts.other_writers.as_ref().is_none_or(|writers| writers.identity == Identity::Known)
    };
    let by_root = credentials.filter(is_certain);
    let mut kubelets = by_root.filter_map(|facts| facts.kubelet.as_ref());
    kubelets.find_map(|client| client.node.clone().ok())
}

fn is_by_profile(
    catalog: &Catalog,
    credential: &Credential,
    leaf: &Leaf,
    node: Option<&str>,
) -> bool {
    let subjects = catalog.subjects.get(&credential.name).map(Vec::as_slice).unwrap_or_default();
    let subject = |given: &String| match node {
        Some(node) => given.replace("{node}", node) == leaf.subject,
        None => *given == leaf.subject,
    };
    let wanted = catalog.wanted_names.get(&credential.name);
    let name = |name: &String| {
        wanted.is_some_and(|wanted| {
            wanted.names.contains(name)
                || node == Some(name)
                || LOCAL_NAMES.contains(&name.as_str())
        })
    };
    subjects.iter().any(subject) && leaf.names.iter().all(name)
}

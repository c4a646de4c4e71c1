//! Reads every authority and credential of the catalog into facts. Each is isolated: a parser's
//! panic costs the one file that caused it, never the pass.

use std::collections::{BTreeMap, BTreeSet};

use super::Catalog;
use super::copies::Copies;
use super::evidence::{Evidence, add_profile_evidence};
use super::lost::LostContext;
use super::material::{material, parser_failed, parts, unreadable};
use super::relations::relations;
use super::shared::{refuse_half_shared, refuse_same_key};
use crate::credentials::{
    Form, LoadedAuthority, LoadedKey, ObservedFiles, Stored, load, load_authority, located,
};
use crate::formats::x509::Certificate;
use crate::model::{
    AbsolutePath, Authority, AuthorityCertificate, AuthorityFacts, AuthorityKey, AuthorityName,
    AuthorityState, Credential, CredentialFacts, Material, Need, Renewal, Signer,
};
use crate::state::KnownCertificates;
use crate::store::Backups;
use crate::sys::{Root, on_all_cores};

/// The facts of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The authorities, in the order of the catalog.
    pub authorities: Vec<AuthorityFacts>,
    /// The credentials, in the order of the catalog.
    pub credentials: Vec<CredentialFacts>,
    /// The CA certificates in the file of the root CA of the cluster, those that sign nothing too.
    pub root_anchors: Vec<Certificate>,
}

impl Observation {
    /// An authority by its name.
    #[must_use]
    pub fn authority(&self, name: &AuthorityName) -> Option<&AuthorityFacts> {
        self.authorities.iter().find(|facts| facts.authority.name == *name)
    }
}

/// Reads everything in the catalog. `state` is the directory of the backups. Uses all cores: most
/// of the time goes into checking RSA keys, some 0.2 ms each.
#[must_use]
pub fn observe(root: &ObservedFiles, catalog: &Catalog, state: &AbsolutePath) -> Observation {
    let fault =
        |authority: &Authority| LoadedAuthority::Unreadable(parser_failed(&authority.certificate));
    let found = on_all_cores(&catalog.authorities, |authority| load_authority(root, authority));
    let mut found: Vec<_> = catalog
        .authorities
        .iter()
        .zip(found)
        .map(|(one, found)| found.unwrap_or_else(|| fault(one)))
        .collect();
    let of_root = catalog.authorities.iter().zip(&found).find(|(authority, _)| authority.root);
    let root_anchors =
        of_root.into_iter().flat_map(|(_, found)| found.anchors().cloned()).collect();
    refuse_same_key(root, &catalog.authorities, &mut found);
    let relations = relations(root, &catalog.authorities, &found);
    let authorities = catalog.authorities.iter().zip(&found).zip(relations);
    let authorities = authorities.map(|((authority, found), relations)| AuthorityFacts {
        authority: authority.clone(),
        state: authority_state(found),
        relations,
    });
    let mut authorities: Vec<_> = authorities.collect();
    let loaded: BTreeMap<_, _> =
        catalog.authorities.iter().map(|authority| authority.name.clone()).zip(found).collect();
    let backups = Backups::open_or_empty(root, state);
    let (known, _) = KnownCertificates::read(root, state);
    let evidence = Evidence { root, known: &known, backups: &backups };
    let copies = Copies::of(root, catalog, &loaded, &backups, state);
    let look = |credential: &Credential| {
        if let Some(of) = credential.copy_of() {
            return copies.facts(credential, of);
        }
        let authority = credential.authority.as_ref().and_then(|name| loaded.get(name));
        let kubeconfig = catalog.kubeconfigs.get(&credential.name);
        let is_made = catalog.templates.contains_key(&credential.name);
        let mut facts = facts(&evidence, credential, kubeconfig, authority, is_made);
        if let Some(kubeconfig) = kubeconfig {
            add_kubelet(root, &mut facts, kubeconfig, authority, catalog);
        }
        facts
    };
    let credentials = on_all_cores(&catalog.credentials, look);
    let credentials = catalog
        .credentials
        .iter()
        .zip(credentials)
        .map(|(one, found)| found.unwrap_or_else(|| unreadable(one)));
    let mut credentials: Vec<_> = credentials.collect();
    refuse_half_shared(root, catalog, &mut credentials);
    add_profile_evidence(catalog, &mut credentials);
    refuse_renamed(&mut authorities, &credentials);
    let lost = LostContext { root, catalog, authorities: &loaded, known: &known };
    lost.add_templates(&mut credentials);
    Observation { authorities, credentials, root_anchors }
}

fn facts(
    evidence: &Evidence<'_>,
    credential: &Credential,
    kubeconfig: Option<&AbsolutePath>,
    authority: Option<&LoadedAuthority>,
    is_made: bool,
) -> CredentialFacts {
    let root = evidence.root;
    let mut files: Vec<_> = credential.location.files().cloned().collect();
    let (mut user, mut notes, mut certificate, mut is_embedded) = (None, Vec::new(), None, false);
    let mut look = |stored: Stored| {
        is_embedded = matches!(stored.form, Form::Kubeconfig(_) | Form::User(..));
        files = stored.form.sources().map(|source| source.path.clone()).collect();
        (user, notes, certificate) = (stored.user, stored.notes, Some(stored.certificate));
    };
    let material = material(load(root, credential), authority, &mut look);
    // A kubeconfig that embeds it refers to no files.
    let located = if is_embedded { credential.clone() } else { located(root, credential) };
    let written = credential.location.files().chain(located.location.files()).chain(&files);
    let written: BTreeSet<_> = written.chain(kubeconfig).collect();
    let other_writers = evidence.other_writers(&located, &written, certificate.as_ref(), authority);
    let backup = if wants_backup(&material, &credential.need, is_made) {
        evidence.usable_backup(&located, authority, other_writers.is_some())
    } else {
        None
    };
    if credential.renewal == Renewal::Ours {
        notes.extend(files.iter().find_map(|file| not_replaceable(root, file)));
    } else {
        // They are about a renewal.
        notes.clear();
    }
    CredentialFacts {
        credential: credential.clone(),
        material,
        files,
        backup,
        template: None,
        user,
        notes,
        kubelet: None,
        copy: None,
        other_writers,
    }
}

/// Why a file can't be replaced, which should be known before the day it is due.
fn not_replaceable(root: &Root, file: &AbsolutePath) -> Option<String> {
    let place = root.locate(file).ok()?;
    place.dir.check_replaceable(&place.name).err().map(|e| e.to_string())
}

/// Adds kubelet's credential. Where kubelet.conf embeds a certificate and there is no other one
/// yet, kubelet uses that.
fn add_kubelet(
    root: &ObservedFiles,
    facts: &mut CredentialFacts,
    kubeconfig: &AbsolutePath,
    authority: Option<&LoadedAuthority>,
    catalog: &Catalog,
) {
    let client = super::kubelet::client(root, facts, kubeconfig, authority, catalog);
    if let Some(embedded) = client
        .as_ref()
        .and_then(|client| client.embedded.as_ref())
        .filter(|_| facts.material == Material::Absent)
    {
        facts.material = embedded.clone();
        facts.files = vec![kubeconfig.clone()];
    }
    facts.kubelet = client;
}

/// `is_made` tells whether it would be made by the profile, which a backup goes before.
fn wants_backup(material: &Material, need: &Need, is_made: bool) -> bool {
    match material {
        Material::Absent => *need != Need::Optional || is_made,
        Material::Damaged(_) | Material::CertificateMissing(_) => true,
        _ => false,
    }
}

/// Refuses a CA by whose certificate nothing verifies that its key has signed: its subject is in
/// other bytes than the issuer in every certificate.
fn refuse_renamed(authorities: &mut [AuthorityFacts], credentials: &[CredentialFacts]) {
    for AuthorityFacts { authority, state, .. } in authorities {
        let own = credentials.iter().filter(|facts| {
            facts.credential.authority.as_ref() == Some(&authority.name)
                && facts.credential.copy_of().is_none()
        });
        let leaves: Vec<_> = own.filter_map(|facts| facts.material.leaf()).collect();
        let AuthorityState::Present { anchors, key } = state else { continue };
        let verifies = anchors
            .signers()
            .any(|one| leaves.iter().any(|leaf| leaf.verifies_by.contains(&one.fingerprint)));
        let is_renamed = leaves.iter().any(|leaf| leaf.signer == Signer::Renamed);
        if *key == AuthorityKey::Usable && is_renamed && !verifies {
            *key = AuthorityKey::Unusable(format!(
                "{}: the certificates that its key has signed do not verify by it, because its \
                 subject is in other bytes than their issuer (for example another string type): \
                 nothing is signed by it; restore the CA certificate that they were issued by, \
                 from another control-plane node or a backup",
                authority.certificate
            ));
        }
    }
}

fn authority_certificate(certificate: &Certificate) -> AuthorityCertificate {
    AuthorityCertificate {
        subject: certificate.subject.to_string(),
        parts: parts(certificate),
        serial: certificate.serial.to_string(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        fingerprint: certificate.fingerprint,
    }
}

fn authority_state(loaded: &LoadedAuthority) -> AuthorityState {
    match loaded {
        LoadedAuthority::Absent => AuthorityState::Absent,
        LoadedAuthority::Unreadable(text) => AuthorityState::Unreadable(text.clone()),
        LoadedAuthority::NotARoot(text) => AuthorityState::NotARoot(text.clone()),
        LoadedAuthority::Present { anchors, key, .. } => AuthorityState::Present {
            anchors: anchors.map(authority_certificate),
            key: match key {
                LoadedKey::Usable(_) => AuthorityKey::Usable,
                LoadedKey::Absent => AuthorityKey::Absent,
                LoadedKey::Unusable(text) => AuthorityKey::Unusable(text.clone()),
            },
        },
    }
}

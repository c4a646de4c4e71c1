//! Reads every authority and credential of the catalog into facts. Each is isolated: a parser's
//! panic costs the one file that caused it, never the pass.

use std::collections::BTreeMap;

use super::Catalog;
use super::copies::Copies;
use super::material::{material, parser_failed, parts, unreadable};
use super::shared::refuse_half_shared;
use crate::credentials::{
    Backup, LoadedAuthority, LoadedKey, Stored, load, load_authority, located,
};
use crate::formats::x509::Certificate;
use crate::model::{
    AbsolutePath, Authority, AuthorityCertificate, AuthorityFacts, AuthorityKey, AuthorityName,
    AuthorityState, Credential, CredentialFacts, Material, Need, Signer,
};
use crate::store::Backups;
use crate::sys::{Root, on_all_cores};

/// The facts of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The authorities, in the order of the catalog.
    pub authorities: Vec<AuthorityFacts>,
    /// The credentials, in the order of the catalog.
    pub credentials: Vec<CredentialFacts>,
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
pub fn observe(root: &Root, catalog: &Catalog, state: &AbsolutePath) -> Observation {
    let fault =
        |authority: &Authority| LoadedAuthority::Unreadable(parser_failed(&authority.certificate));
    let found = on_all_cores(&catalog.authorities, |authority| load_authority(root, authority));
    let found: Vec<_> = catalog
        .authorities
        .iter()
        .zip(found)
        .map(|(one, found)| found.unwrap_or_else(|| fault(one)))
        .collect();
    let authorities = catalog.authorities.iter().zip(&found);
    let authorities = authorities.map(|(authority, found)| AuthorityFacts {
        authority: authority.clone(),
        state: authority_state(found),
    });
    let authorities = authorities.collect();
    let loaded: BTreeMap<_, _> =
        catalog.authorities.iter().map(|authority| authority.name.clone()).zip(found).collect();
    let backups = Backups::open_or_empty(root, state);
    let copies = Copies::of(root, catalog, &loaded, &backups, state);
    let look = |credential: &Credential| {
        if let Some(of) = credential.copy_of() {
            return copies.facts(credential, of);
        }
        let authority = credential.authority.as_ref().and_then(|name| loaded.get(name));
        let mut facts = facts(root, credential, authority, &backups);
        if let Some(kubeconfig) = catalog.kubeconfigs.get(&credential.name) {
            add_kubelet(root, &mut facts, kubeconfig, authority);
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
    refuse_half_shared(root, &mut credentials);
    Observation { authorities, credentials }
}

fn facts(
    root: &Root,
    credential: &Credential,
    authority: Option<&LoadedAuthority>,
    backups: &Backups,
) -> CredentialFacts {
    let mut files: Vec<_> = credential.location.files().cloned().collect();
    let (mut user, mut notes) = (None, Vec::new());
    let mut look = |stored: Stored| {
        files = stored.form.sources().map(|source| source.path.clone()).collect();
        (user, notes) = (stored.user, stored.notes);
    };
    let material = material(load(root, credential), authority, &mut look);
    let backup = if wants_backup(&material, &credential.need) {
        usable_backup(root, credential, authority, backups)
    } else {
        None
    };
    CredentialFacts {
        credential: credential.clone(),
        material,
        files,
        backup,
        user,
        notes,
        kubelet: None,
        copy: None,
    }
}

/// Adds kubelet's credential. Where kubelet.conf embeds a certificate and there is no other one
/// yet, kubelet uses that.
fn add_kubelet(
    root: &Root,
    facts: &mut CredentialFacts,
    kubeconfig: &AbsolutePath,
    authority: Option<&LoadedAuthority>,
) {
    let client =
        super::kubelet::client(root, &facts.credential, kubeconfig, &facts.material, authority);
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

fn wants_backup(material: &Material, need: &Need) -> bool {
    match material {
        Material::Absent => *need != Need::Optional,
        Material::Damaged(_) | Material::CertificateMissing(_) => true,
        _ => false,
    }
}

/// The newest backup with a certificate of this authority, by its name.
fn usable_backup(
    root: &Root,
    credential: &Credential,
    authority: Option<&LoadedAuthority>,
    backups: &Backups,
) -> Option<String> {
    let authority = authority?;
    let credential = located(root, credential);
    let usable = |generation: &crate::store::Generation| {
        let files = Backup { backups, generation: generation.clone() };
        let stored = load(&files, &credential).stored();
        stored.is_some_and(|stored| authority.signer_of(&stored.certificate) == Signer::Authority)
    };
    backups.generations().into_iter().find(usable).map(|generation| generation.to_string())
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
        LoadedAuthority::Present { anchors, key } => AuthorityState::Present {
            anchors: anchors.map(authority_certificate),
            key: match key {
                LoadedKey::Usable(_) => AuthorityKey::Usable,
                LoadedKey::Absent => AuthorityKey::Absent,
                LoadedKey::Unusable(text) => AuthorityKey::Unusable(text.clone()),
            },
        },
    }
}

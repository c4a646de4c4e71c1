//! From the catalog to the facts: every authority and credential is read, one after the other, and none can spoil
//! another's turn.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Catalog;
use crate::credentials::{Backup, Loaded, LoadedAuthority, LoadedKey, Stored, load, load_authority, located};
use crate::formats::x509::Certificate;
use crate::model::{
    AbsolutePath, AuthorityCertificate, AuthorityFacts, AuthorityKey, AuthorityName, AuthorityState, Credential, CredentialFacts,
    CredentialName, Leaf, Material, Need, Renewal, Signer,
};
use crate::store::Backups;
use crate::sys::{Identity, Root};

/// What is found on a node.
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

/// Looks at everything in the catalog. `state` is where the backups are.
#[must_use]
pub fn observe(root: &Root, catalog: &Catalog, state: &AbsolutePath) -> Observation {
    let mut loaded = BTreeMap::new();
    let mut authorities = Vec::new();
    for authority in &catalog.authorities {
        let found = contained(|| load_authority(root, authority))
            .unwrap_or_else(|| LoadedAuthority::Unreadable(parser_failed(&authority.certificate)));
        authorities.push(AuthorityFacts { authority: authority.clone(), state: authority_state(&found) });
        loaded.insert(authority.name.clone(), found);
    }
    let backups = Backups::look(root, state);
    let look = |credential: &Credential| {
        let authority = credential.authority.as_ref().and_then(|name| loaded.get(name));
        contained(|| facts(root, credential, authority, &backups)).unwrap_or_else(|| unreadable(credential))
    };
    let mut credentials = in_parallel(&catalog.credentials, look);
    refuse_half_shared(root, &mut credentials);
    Observation { authorities, credentials }
}

/// Which file it is, whatever its name: its folder and its name there.
type Place = (Identity, OsString);

/// Two certificates for one key, or one certificate with two keys: a new key for one of them would break the other.
fn refuse_half_shared(root: &Root, credentials: &mut [CredentialFacts]) {
    let places: Vec<_> = credentials.iter().map(|facts| places(root, facts)).collect();
    let mut users: BTreeMap<&Place, Vec<usize>> = BTreeMap::new();
    for (user, place) in places.iter().enumerate().flat_map(|(user, own)| own.keys().map(move |place| (user, place))) {
        users.entry(place).or_default().push(user);
    }
    let differs = |own: &BTreeMap<Place, AbsolutePath>, other: usize| places.get(other).is_some_and(|places| !places.keys().eq(own.keys()));
    let troubles = places.iter().map(|own| {
        own.iter().find_map(|(place, path)| {
            let other = *users.get(place)?.iter().find(|other| differs(own, **other))?;
            Some((path, &credentials.get(other)?.credential.name))
        })
    });
    let texts: Vec<_> = troubles.map(|trouble| trouble.map(|(path, other)| half_shared(path, other))).collect();
    for (facts, text) in credentials.iter_mut().zip(texts) {
        if let (Renewal::Ours, Some(text)) = (facts.credential.renewal, text) {
            facts.material = Material::Unreadable(text);
        }
    }
}

fn half_shared(path: &AbsolutePath, other: &CredentialName) -> String {
    format!(
        "{path}: {other} uses this file too, but not both files, so that renewing one would break the other; give each files of its own"
    )
}

/// Where the files of a credential really are. None where nothing is there, or what is there is refused already.
fn places(root: &Root, facts: &CredentialFacts) -> BTreeMap<Place, AbsolutePath> {
    if matches!(facts.material, Material::Absent | Material::Unreadable(_)) {
        return BTreeMap::new();
    }
    let place = |path: &AbsolutePath| {
        let place = root.locate(path).ok()?;
        Some(((place.dir.identity().ok()?, place.name), path.clone()))
    };
    located(root, &facts.credential).location.files().filter_map(place).collect()
}

/// A parser's panic costs the one file that it met, never the pass.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn parser_failed(path: &AbsolutePath) -> String {
    format!("{path}: could not be parsed because of a fault in kubecertd; please report it")
}

fn unreadable(credential: &Credential) -> CredentialFacts {
    let material = Material::Unreadable(parser_failed(credential.location.certificate_file()));
    CredentialFacts { credential: credential.clone(), material, backup: None, notes: Vec::new() }
}

/// As many at once as there are cores, in the order given.
fn in_parallel<I: Sync, O: Send>(items: &[I], work: impl Fn(&I) -> O + Sync) -> Vec<O> {
    const FEW: usize = 64;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    if items.len() < FEW || workers == 1 {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(workers);
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.chunks(share).map(|chunk| scope.spawn(move || chunk.iter().map(work).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

fn facts(root: &Root, credential: &Credential, authority: Option<&LoadedAuthority>, backups: &Backups) -> CredentialFacts {
    let mut notes = Vec::new();
    let mut leaf_of = |stored: Box<Stored>| {
        let leaf = leaf(&stored.certificate, authority);
        notes = stored.notes;
        leaf
    };
    let material = match load(root, credential) {
        Loaded::Absent => Material::Absent,
        Loaded::Unreadable(text) => Material::Unreadable(text),
        Loaded::Damaged(text) => Material::Damaged(text),
        Loaded::CertificateMissing(text) => Material::CertificateMissing(text),
        Loaded::KeyMissing(stored, text) => Material::KeyMissing(leaf_of(stored), text),
        Loaded::Mismatched(stored, text) => Material::Mismatched(leaf_of(stored), text),
        Loaded::Whole(stored) => Material::Whole(leaf_of(stored)),
    };
    let backup = if wants_backup(&material, &credential.need) { usable_backup(root, credential, authority, backups) } else { None };
    CredentialFacts { credential: credential.clone(), material, backup, notes }
}

fn wants_backup(material: &Material, need: &Need) -> bool {
    match material {
        Material::Absent => *need != Need::Optional,
        Material::Damaged(_) | Material::CertificateMissing(_) => true,
        _ => false,
    }
}

/// The newest backup with a certificate of this authority, by its name.
fn usable_backup(root: &Root, credential: &Credential, authority: Option<&LoadedAuthority>, backups: &Backups) -> Option<String> {
    let authority = authority?;
    let credential = located(root, credential);
    let usable = |generation: &crate::store::Generation| {
        let files = Backup { backups, generation: generation.clone() };
        let stored = load(&files, &credential).stored();
        stored.is_some_and(|stored| authority.signer_of(&stored.certificate) == Signer::Authority)
    };
    backups.generations().into_iter().find(usable).map(|generation| generation.to_string())
}

fn leaf(certificate: &Certificate, authority: Option<&LoadedAuthority>) -> Leaf {
    Leaf {
        subject: certificate.subject.to_string(),
        issuer: certificate.issuer.to_string(),
        serial: certificate.serial.to_string(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        key_algorithm: certificate.key_algorithm.to_string(),
        names: certificate.names(),
        fingerprint: certificate.fingerprint,
        signer: authority.map_or(Signer::Unknown, |authority| authority.signer_of(certificate)),
    }
}

fn authority_state(loaded: &LoadedAuthority) -> AuthorityState {
    match loaded {
        LoadedAuthority::Absent => AuthorityState::Absent,
        LoadedAuthority::Unreadable(text) => AuthorityState::Unreadable(text.clone()),
        LoadedAuthority::NotARoot(text) => AuthorityState::NotARoot(text.clone()),
        LoadedAuthority::Present { signing, key, .. } => AuthorityState::Present {
            certificate: AuthorityCertificate {
                subject: signing.subject.to_string(),
                serial: signing.serial.to_string(),
                not_before: signing.not_before,
                not_after: signing.not_after,
                fingerprint: signing.fingerprint,
            },
            key: match key {
                LoadedKey::Usable(_) => AuthorityKey::Usable,
                LoadedKey::Absent => AuthorityKey::Absent,
                LoadedKey::Unusable(text) => AuthorityKey::Unusable(text.clone()),
            },
        },
    }
}

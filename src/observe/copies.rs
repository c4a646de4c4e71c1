//! Compares each copy with the present and earlier content of its original.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::Catalog;
use super::material::{leaf, unreadable};
use crate::credentials::{
    Backup, Lineage, Loaded, LoadedAuthority, LoadedCopy, ObservedFiles, Original, load, load_copy,
    located,
};
use crate::formats::x509::Certificate;
use crate::model::{
    AbsolutePath, AuthorityName, CopyFacts, CopyOf, Credential, CredentialFacts, CredentialName,
    Digest, Material, Signer,
};
use crate::state::Lineages;
use crate::store::Backups;
use crate::sys::on_all_cores;

/// The originals of all copies.
pub(super) struct Copies<'c> {
    root: &'c ObservedFiles,
    backups: &'c Backups,
    remembered: Lineages,
    originals: BTreeMap<CredentialName, Compared<'c>>,
}

/// An original.
struct Compared<'c> {
    credential: &'c Credential,
    authority: Option<&'c LoadedAuthority>,
    certificate: Option<Certificate>,
    /// The content to copy, or why there is none.
    copied: Result<Original, String>,
    /// The digests in its backups; read only where a copy is unknown otherwise.
    backed_up: OnceLock<BTreeSet<Digest>>,
}

impl<'c> Copies<'c> {
    pub(super) fn of(
        root: &'c ObservedFiles,
        catalog: &'c Catalog,
        authorities: &'c BTreeMap<AuthorityName, LoadedAuthority>,
        backups: &'c Backups,
        state: &AbsolutePath,
    ) -> Self {
        let named = catalog.originals();
        let remembered =
            if named.is_empty() { Lineages::default() } else { Lineages::read(root, state).0 };
        let credentials: Vec<_> =
            catalog.credentials.iter().filter(|one| named.contains(&one.name)).collect();
        let compared = on_all_cores(&credentials, |credential| {
            let authority = credential.authority.as_ref().and_then(|name| authorities.get(name));
            Compared::look(root, credential, authority)
        });
        let originals = credentials
            .iter()
            .zip(compared)
            .filter_map(|(one, compared)| Some((one.name.clone(), compared?)));
        Self { root, backups, remembered, originals: originals.collect() }
    }

    pub(super) fn facts(&self, credential: &Credential, of: &CopyOf) -> CredentialFacts {
        let Some(original) = self.originals.get(&of.original) else {
            return unreadable(credential);
        };
        let current = original
            .copied
            .as_ref()
            .map(|copied| copied.certificate.fingerprint)
            .map_err(Clone::clone);
        let held = |fingerprint: &Digest| self.held(original, fingerprint);
        let lineage = original.lineage(&held);
        let mut equivalent = false;
        let material = match load_copy(self.root, credential, of, &lineage) {
            LoadedCopy::Absent => Material::Absent,
            LoadedCopy::Unreadable(text) => Material::Unreadable(text),
            LoadedCopy::Changed(text) => Material::Changed(text),
            LoadedCopy::Held(held) => {
                equivalent = held.equivalent;
                Material::Whole(leaf(&held.stored, original.authority))
            }
        };
        let files = credential.location.files().cloned().collect();
        CredentialFacts {
            material,
            files,
            copy: Some(CopyFacts { original: current, equivalent }),
            ..unreadable(credential)
        }
    }

    fn held(&self, original: &Compared<'_>, fingerprint: &Digest) -> bool {
        self.remembered.has(&original.credential.name, fingerprint)
            || original
                .backed_up
                .get_or_init(|| backed_up(self.root, self.backups, original.credential))
                .contains(fingerprint)
    }
}

impl<'c> Compared<'c> {
    fn look(
        root: &ObservedFiles,
        credential: &'c Credential,
        authority: Option<&'c LoadedAuthority>,
    ) -> Self {
        let loaded = load(root, credential);
        let copied = copied(&loaded, credential, authority);
        let certificate = loaded.stored().map(|stored| stored.certificate);
        Self { credential, authority, certificate, copied, backed_up: OnceLock::new() }
    }

    fn lineage<'l>(&'l self, held: &'l dyn Fn(&Digest) -> bool) -> Lineage<'l> {
        let current = self.copied.as_ref().ok().map(|copied| copied.certificate.fingerprint);
        Lineage { current, authority: self.authority, like: self.certificate.as_ref(), held }
    }
}

/// Returns the content to copy: complete, and signed by its authority, if it has one.
fn copied(
    loaded: &Loaded,
    credential: &Credential,
    authority: Option<&LoadedAuthority>,
) -> Result<Original, String> {
    let why = match loaded {
        Loaded::Whole(stored) => {
            let foreign = matches!(
                authority.map(|known| known.above(&stored.certificate, &stored.further).signer),
                Some(Signer::Foreign | Signer::Renamed | Signer::Itself)
            );
            match &credential.authority {
                Some(name) if foreign => format!("its certificate was not issued by {name}"),
                _ => return Original::of(stored).map_err(|e| e.to_string()),
            }
        }
        Loaded::Absent => "it is missing".to_owned(),
        Loaded::Unreadable(text)
        | Loaded::NoCertificate(text)
        | Loaded::Damaged(text)
        | Loaded::CertificateMissing(text) => text.clone(),
        Loaded::KeyMissing(_, text) | Loaded::Mismatched(_, text) => text.clone(),
    };
    Err(why)
}

fn backed_up(root: &ObservedFiles, backups: &Backups, credential: &Credential) -> BTreeSet<Digest> {
    let now = located(root, credential);
    let held = backups.generations().into_iter().flat_map(|generation| {
        let files = Backup { backups, generation };
        // Its present place, and its place at that time.
        [load(&files, &now), load(&files, credential)]
            .into_iter()
            .filter_map(|loaded| Some(loaded.stored()?.certificate.fingerprint))
    });
    held.collect()
}

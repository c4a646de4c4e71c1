//! Credentials that share files: two certificates for one key, or one certificate with two keys. A
//! new key for one of them would break the other, so both are refused. Two that share all their
//! files are one credential under two names, which is harmless.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::model::{AbsolutePath, CredentialFacts, CredentialName, Material, Renewal};
use crate::sys::{Identity, Root};

/// The identity of a file, whatever its path: its directory and its name there.
type FileIdentity = (Identity, OsString);

/// Makes a credential unreadable that shares only some of its files with another.
pub(super) fn refuse_half_shared(root: &Root, credentials: &mut [CredentialFacts]) {
    let places: Vec<_> = credentials.iter().map(|facts| places(root, facts)).collect();
    let mut users: BTreeMap<&FileIdentity, Vec<usize>> = BTreeMap::new();
    for (user, place) in
        places.iter().enumerate().flat_map(|(user, own)| own.keys().map(move |place| (user, place)))
    {
        users.entry(place).or_default().push(user);
    }
    let differs = |own: &BTreeMap<FileIdentity, AbsolutePath>, other: usize| {
        places.get(other).is_some_and(|places| !places.keys().eq(own.keys()))
    };
    let troubles = places.iter().map(|own| {
        own.iter().find_map(|(place, path)| {
            let other = *users.get(place)?.iter().find(|other| differs(own, **other))?;
            Some((path, &credentials.get(other)?.credential.name))
        })
    });
    let texts: Vec<_> =
        troubles.map(|trouble| trouble.map(|(path, other)| half_shared(path, other))).collect();
    for (facts, text) in credentials.iter_mut().zip(texts) {
        if let (Renewal::Ours, Some(text)) = (&facts.credential.renewal, text) {
            facts.material = Material::Unreadable(text);
        }
    }
}

fn half_shared(path: &AbsolutePath, other: &CredentialName) -> String {
    format!(
        "{path}: {other} uses this file too, but not both files, so that renewing one would break \
         the other; give each files of its own"
    )
}

/// Where the files of a credential really are. Empty where there are none, or where they are
/// refused already. A copy shares nothing: it may be root's link to its original.
fn places(root: &Root, facts: &CredentialFacts) -> BTreeMap<FileIdentity, AbsolutePath> {
    if matches!(facts.material, Material::Absent | Material::Unreadable(_))
        || facts.credential.copy_of().is_some()
    {
        return BTreeMap::new();
    }
    let place = |path: &AbsolutePath| {
        let place = root.locate(path).ok()?;
        Some(((place.dir.identity().ok()?, place.name), path.clone()))
    };
    facts.files.iter().filter_map(place).collect()
}

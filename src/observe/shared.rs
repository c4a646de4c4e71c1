//! Files that a credential must not share: with another credential, with a CA, or with the keys
//! that are no credential. Two certificates for one key, or one certificate with two keys: a new
//! key for one of them would break the other, so it is refused. Two that share all their files are
//! one credential under two names, which is harmless.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::Catalog;
use crate::credentials::LoadedAuthority;
use crate::model::{
    AbsolutePath, Authority, Credential, CredentialFacts, CredentialName, Material, Need, Renewal,
};
use crate::sys::{Identity, Root};

/// The identity of a file, whatever its path: its directory and its name there.
type FileIdentity = (Identity, OsString);

/// The files of a credential, by their identity.
type Places = BTreeMap<FileIdentity, AbsolutePath>;

/// How a credential comes to its files, the strongest claim first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// The configuration, the profile or a manifest names them.
    Named,
    /// A kubeconfig refers to them.
    Referred,
    /// Others than root can write the files, or the kubeconfig that refers to them.
    WritableByOthers,
}

/// Makes a credential unreadable that shares only some of its files with another one of the same or
/// a stronger claim, or a file with a CA.
pub(super) fn refuse_half_shared(
    root: &Root,
    catalog: &Catalog,
    credentials: &mut [CredentialFacts],
) {
    let protected = protected(root, catalog);
    let claims: Vec<_> =
        credentials.iter().map(|facts| (claim(facts), places(root, facts))).collect();
    let texts: Vec<_> = claims
        .iter()
        .zip(&*credentials)
        .map(|(own, facts)| {
            let shared = || {
                let (path, other) = conflict(own, &claims)?;
                Some(half_shared(path, &credentials.get(other)?.credential.name))
            };
            // What is missing would be made there.
            let missing = || {
                let is_missing = facts.material == Material::Absent;
                let is_needed = facts.credential.need != Need::Optional;
                let text = || protected_text(&all_places(root, facts), &protected);
                if is_missing && is_needed { text() } else { None }
            };
            protected_text(&own.1, &protected).or_else(missing).or_else(shared)
        })
        .collect();
    for (facts, text) in credentials.iter_mut().zip(texts) {
        if let (Renewal::Ours, Some(text)) = (&facts.credential.renewal, text) {
            facts.material = Material::Unreadable(text);
        }
    }
}

/// The file that is shared with another credential, whose claim is not weaker, and which that is.
fn conflict<'c>(
    (claim, own): &'c (Claim, Places),
    all: &[(Claim, Places)],
) -> Option<(&'c AbsolutePath, usize)> {
    all.iter().enumerate().find_map(|(at, (other_claim, other))| {
        if other_claim > claim || other.keys().eq(own.keys()) {
            return None;
        }
        let (_, path) = own.iter().find(|(place, _)| other.contains_key(*place))?;
        Some((path, at))
    })
}

fn claim(facts: &CredentialFacts) -> Claim {
    let is_kubeconfig = facts.credential.location.kubeconfig().is_some();
    if facts.other_writers.is_some() {
        Claim::WritableByOthers
    } else if is_kubeconfig && facts.credential.location.files().ne(&facts.files) {
        Claim::Referred
    } else {
        Claim::Named
    }
}

fn half_shared(path: &AbsolutePath, other: &CredentialName) -> String {
    format!(
        "{path}: {other} uses this file too, but not both files, so that renewing one would break \
         the other; give each files of its own"
    )
}

/// The files of the CAs and the other keys that no renewal may replace, each with the text for it.
fn protected(root: &Root, catalog: &Catalog) -> BTreeMap<FileIdentity, String> {
    let authorities = catalog.authorities.iter().flat_map(|one| {
        let files = [&one.certificate].into_iter().chain(one.keys());
        files.map(|file| (file, format!("belongs to the CA {}", one.name)))
    });
    let others = catalog
        .protected
        .iter()
        .map(|file| (file, "holds a key that is never replaced".to_owned()));
    let identified =
        |(file, text)| Some((identity(root, file)?, format!("{file}: {text}; name other files")));
    authorities.chain(others).filter_map(identified).collect()
}

fn protected_text(own: &Places, protected: &BTreeMap<FileIdentity, String>) -> Option<String> {
    own.keys().find_map(|place| protected.get(place).cloned())
}

/// Where the files of a credential really are. Empty where there are none, or where they are
/// refused already. A copy shares nothing: it may be root's link to its original.
fn places(root: &Root, facts: &CredentialFacts) -> Places {
    let has_none = matches!(
        facts.material,
        Material::Absent | Material::Unreadable(_) | Material::NoCertificate(_)
    );
    if has_none || facts.credential.copy_of().is_some() || is_further_user(&facts.credential) {
        return BTreeMap::new();
    }
    all_places(root, facts)
}

fn all_places(root: &Root, facts: &CredentialFacts) -> Places {
    let place = |path: &AbsolutePath| Some((identity(root, path)?, path.clone()));
    facts.files.iter().filter_map(place).collect()
}

/// Whether it is a user of a kubeconfig that is only watched: what a kubeconfig says of it never
/// keeps another credential from being renewed.
fn is_further_user(credential: &Credential) -> bool {
    credential.location.user().is_some() && credential.renewal != Renewal::Ours
}

/// Whether two paths lead to the same file, by links that only root can have made.
pub(super) fn is_same_file(root: &Root, one: &AbsolutePath, other: &AbsolutePath) -> bool {
    let one = identity(root, one);
    one.is_some() && one == identity(root, other)
}

fn identity(root: &Root, path: &AbsolutePath) -> Option<FileIdentity> {
    let place = root.locate(path).ok()?;
    Some((place.dir.identity().ok()?, place.name))
}

/// Refuses a CA whose files others than root can write and which has the key of another one: a user
/// who put it there would have the other CA sign.
pub(super) fn refuse_same_key(
    root: &Root,
    authorities: &[Authority],
    loaded: &mut [LoadedAuthority],
) {
    let refusal = |at: usize, authority: &Authority| {
        let writers = |file| root.writable_by_others(file).ok().flatten();
        // The key's own owner does not count: kubeadm gives it to kube-controller-manager's user.
        let own = loaded.get(at)?;
        let key_dir = AbsolutePath::new(own.key_file()?.as_path().parent()?).ok();
        let through = key_dir.iter().chain([&authority.certificate]).find_map(writers)?;
        // One CA under two names has the same files, and gains nothing by the second name.
        let is_other = |other: &Authority, found: &LoadedAuthority| {
            other.certificate != authority.certificate || found.key_file() != own.key_file()
        };
        let mut others = authorities.iter().zip(&*loaded).enumerate();
        let (_, (other, _)) = others.find(|(index, (other, found))| {
            *index != at && own.signs_with_key_of(found) && is_other(other, found)
        })?;
        let other = &other.name;
        Some(format!(
            "{}: has the key of the CA {other}, and {through}, so others than root may have put \
             it there: nothing is signed by it",
            authority.certificate
        ))
    };
    let refused: Vec<_> =
        authorities.iter().enumerate().map(|(at, authority)| refusal(at, authority)).collect();
    for (loaded, refused) in loaded.iter_mut().zip(refused) {
        if let Some(text) = refused {
            *loaded = LoadedAuthority::Unreadable(text);
        }
    }
}

//! Finds where the profile's authorities and credentials really are, and whether a manifest needs
//! them.

use super::input::{CatalogInput, Reference};
use super::kubelet;
use super::manifests::{Manifest, Manifests};
use super::note::Note;
use crate::formats::manifest::Pod;
use crate::model::{AbsolutePath, Authority, Credential, Location, Need, OtherKey, SIGNING_FILES};
use crate::settings::{
    AuthorityFlags, CredentialFlags, FlagNames, KeyFlags, ProfileAuthority, ProfileCredential,
    ProtectedFile,
};

/// Finds the real places, and adds a note where it can't.
pub(super) struct Places<'a> {
    manifests: &'a Manifests,
    found: CatalogInput<'a>,
    notes: &'a mut Vec<Note>,
}

/// Where an authority is.
struct AuthorityPlaces {
    certificate: AbsolutePath,
    key: AbsolutePath,
    need: Need,
    clients: Option<AbsolutePath>,
}

/// The value of a flag.
enum Named {
    /// A file of the host.
    File(AbsolutePath),
    /// A path that is not on the host; a note was added.
    Nowhere,
    /// The flag is absent.
    Nothing,
}

impl<'a> Places<'a> {
    pub fn new(
        manifests: &'a Manifests,
        found: CatalogInput<'a>,
        notes: &'a mut Vec<Note>,
    ) -> Self {
        Self { manifests, found, notes }
    }

    pub fn authority(&mut self, usual: &ProfileAuthority) -> Authority {
        let named = usual.flags.iter().find_map(|flags| self.named_authority(usual, flags));
        let AuthorityPlaces { certificate, mut key, need, clients } =
            named.unwrap_or_else(|| AuthorityPlaces {
                certificate: usual.certificate.clone(),
                key: usual.key.clone(),
                need: Need::Optional,
                clients: None,
            });
        let signing =
            usual.key_flags.as_ref().and_then(|flags| self.signing_key(&certificate, flags));
        // During a rotation its own file is no other place of the authority's key.
        let [_, own] = SIGNING_FILES;
        let is_own = |key: &AbsolutePath| key.as_path().file_name() == Some(own.as_ref());
        let signing = signing.filter(|key| !is_own(key));
        let mut others: Vec<_> = signing.into_iter().collect();
        if !(self.found.exists)(&key)
            && let Some(signing) = others.pop()
        {
            others.push(std::mem::replace(&mut key, signing));
        }
        others.extend(named_beside(&certificate));
        others.retain(|other| *other != key);
        Authority {
            name: usual.name.clone(),
            certificate,
            key,
            other_keys: others.into_iter().map(OtherKey::Own).collect(),
            clients,
            clients_may: usual.clients_may.clone(),
            root: usual.root,
            key_elsewhere: usual.key_elsewhere,
            need,
        }
    }

    fn named_authority(
        &mut self,
        usual: &ProfileAuthority,
        flags: &AuthorityFlags,
    ) -> Option<AuthorityPlaces> {
        let Manifest::Read { file, pod } = self.manifests.of(&flags.pod) else { return None };
        let Named::File(named) = self.named(file, pod, &flags.certificate) else {
            return None;
        };
        let clients = Some(named.clone());
        let certificate = if flags.bundle { self.usually_named(usual, named) } else { named };
        let key = match flags.key.as_ref().map(|flag| self.named(file, pod, flag)) {
            Some(Named::File(key)) => key,
            _ if certificate == usual.certificate => usual.key.clone(),
            _ => key_beside(&certificate),
        };
        let need = Need::Manifest(file.to_owned());
        Some(AuthorityPlaces { certificate, key, need, clients })
    }

    /// The file that a flag names, unless it is a bundle of another name than the authority's and
    /// the authority's own file is there: beside the bundle, or at the usual place. A file with
    /// that name and none of the bundle's CAs is another authority's.
    fn usually_named(&self, usual: &ProfileAuthority, named: AbsolutePath) -> AbsolutePath {
        let Some(name) = usual.certificate.as_path().file_name() else { return named };
        if named.as_path().file_name() == Some(name) {
            return named;
        }
        let beside = named.sibling(name).ok();
        beside
            .into_iter()
            .chain([usual.certificate.clone()])
            .find(|path| {
                let is_of_bundle = || (self.found.shares_ca)(&named, path) != Some(false);
                (self.found.exists)(path) && is_of_bundle()
            })
            .unwrap_or(named)
    }

    /// The key that is named for signing, where it is named for this certificate, or for another
    /// file with the same CA.
    fn signing_key(
        &mut self,
        certificate: &AbsolutePath,
        flags: &KeyFlags,
    ) -> Option<AbsolutePath> {
        let Manifest::Read { file, pod } = self.manifests.of(&flags.pod) else { return None };
        match (self.named(file, pod, &flags.certificate), self.named(file, pod, &flags.key)) {
            (Named::File(signing), Named::File(key))
                if signing == *certificate
                    || (self.found.shares_ca)(&signing, certificate) == Some(true) =>
            {
                Some(key)
            }
            _ => None,
        }
    }

    /// The files that no renewal replaces: the usual ones, and those that flags name.
    pub fn protected(&mut self, all: &[ProtectedFile]) -> Vec<AbsolutePath> {
        let mut files = Vec::new();
        for usual in all {
            files.push(usual.file.clone());
            files.extend(usual.flags.iter().filter_map(|flag| self.file_of(&flag.pod, &flag.file)));
        }
        files
    }

    /// The file that a flag of a pod names.
    pub fn file_of(&mut self, pod: &str, flag: &str) -> Option<AbsolutePath> {
        let Manifest::Read { file, pod } = self.manifests.of(pod) else { return None };
        match self.named(file, pod, flag) {
            Named::File(named) => Some(named),
            Named::Nowhere | Named::Nothing => None,
        }
    }

    /// `before` are the entries that were added already: one that shares another's directory
    /// follows it in the profile.
    pub fn credential(
        &mut self,
        usual: &ProfileCredential,
        before: &[Credential],
        profile: &[ProfileCredential],
    ) -> Credential {
        let named = usual.flags.as_ref().and_then(|flags| self.named_credential(usual, flags));
        let (location, need) = named
            .or_else(|| self.referenced(usual))
            .unwrap_or_else(|| (self.unnamed(usual, before, profile), Need::Optional));
        let is_serving = kubelet::is_serving(usual);
        let renewal =
            if is_serving { kubelet::renewal_by_files(&location) } else { usual.renewal.clone() };
        let credential = Credential {
            name: usual.name.clone(),
            kubeadm_name: usual.kubeadm_name.clone(),
            location,
            authority: usual.authority.clone(),
            renewal,
            need,
        };
        match self.found.kubelet.filter(|_| is_serving) {
            Some(found) => found.serving.place(credential, self.found.exists),
            None => credential,
        }
    }

    fn named_credential(
        &mut self,
        usual: &ProfileCredential,
        flags: &CredentialFlags,
    ) -> Option<(Location, Need)> {
        let Manifest::Read { file, pod } = self.manifests.of(&flags.pod) else { return None };
        let location = match &flags.names {
            FlagNames::Kubeconfig(flag) => match self.named(file, pod, flag) {
                Named::File(kubeconfig) => Location::Kubeconfig(kubeconfig),
                Named::Nowhere | Named::Nothing => return None,
            },
            FlagNames::Pair { certificate, key } => {
                match (self.named(file, pod, certificate), self.named(file, pod, key)) {
                    (Named::File(certificate), Named::File(key)) => pair(certificate, key),
                    (Named::File(certificate), Named::Nothing) => {
                        usual_or_beside(usual, certificate)
                    }
                    _ => return None,
                }
            }
        };
        Some((location, Need::Manifest(file.to_owned())))
    }

    /// Where a kubeconfig points to.
    fn referenced(&self, usual: &ProfileCredential) -> Option<(Location, Need)> {
        let kubeconfig = usual.referenced_by.as_ref()?;
        let Reference::Files { certificate, key } = self.found.references.get(kubeconfig)?.clone()
        else {
            return None;
        };
        let location =
            if certificate == key { Location::Bundle(certificate) } else { pair(certificate, key) };
        Some((location, Need::Kubeconfig(kubeconfig.clone())))
    }

    /// Where a credential is that no flag names.
    fn unnamed(
        &self,
        usual: &ProfileCredential,
        before: &[Credential],
        profile: &[ProfileCredential],
    ) -> Location {
        if let Some(moved) = moved_with_neighbour(usual, before, profile) {
            return moved;
        }
        match &usual.otherwise {
            Some(otherwise) if !self.is_there(&usual.location) && self.is_there(otherwise) => {
                otherwise.clone()
            }
            _ => usual.location.clone(),
        }
    }

    fn is_there(&self, location: &Location) -> bool {
        (self.found.exists)(location.certificate_file())
    }

    fn named(&mut self, file: &str, pod: &Pod, flag: &str) -> Named {
        let Some(setting) = pod.setting(flag) else { return Named::Nothing };
        match pod.host_file(&setting) {
            Ok(path) => Named::File(path),
            Err(problem) => {
                let (file, value) = (file.to_owned(), setting.value.to_owned());
                let note = Note::NoHostPath { file, by: setting.by, value, problem };
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
                Named::Nowhere
            }
        }
    }
}

fn usual_or_beside(usual: &ProfileCredential, certificate: AbsolutePath) -> Location {
    if *usual.location.certificate_file() == certificate {
        return usual.location.clone();
    }
    let key = key_beside(&certificate);
    pair(certificate, key)
}

/// The key of the same name: `ca.key` beside `ca.crt`. The key of another certificate in the
/// directory is never guessed.
pub(super) fn key_beside(certificate: &AbsolutePath) -> AbsolutePath {
    AbsolutePath::new(certificate.as_path().with_extension("key"))
        .unwrap_or_else(|_| certificate.clone())
}

/// The key as cfssl and kubespray name it: `ca-key.pem` beside `ca.pem`.
pub(super) fn named_beside(certificate: &AbsolutePath) -> Option<AbsolutePath> {
    let mut name = certificate.as_path().file_stem()?.to_owned();
    name.push("-key.pem");
    certificate.sibling(name).ok()
}

/// The pair's own file names in the directory of its neighbour, when the neighbour is not in the
/// profile's place.
fn moved_with_neighbour(
    usual: &ProfileCredential,
    before: &[Credential],
    profile: &[ProfileCredential],
) -> Option<Location> {
    let neighbour = usual.beside.as_ref()?;
    let now =
        before.iter().find(|credential| credential.name == *neighbour)?.location.certificate_file();
    let then = profile
        .iter()
        .find(|credential| credential.name == *neighbour)?
        .location
        .certificate_file();
    if now.as_path().parent() == then.as_path().parent() {
        return None;
    }
    let Location::Pair { certificate, key } = &usual.location else { return None };
    Some(pair(
        now.sibling(certificate.as_path().file_name()?).ok()?,
        now.sibling(key.as_path().file_name()?).ok()?,
    ))
}

pub(super) fn pair(certificate: AbsolutePath, key: AbsolutePath) -> Location {
    Location::Pair { certificate, key }
}

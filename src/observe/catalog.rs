//! The catalog: what there is on this node, where it really lives and whether it is needed.
//!
//! It is made of the profile (the usual places), the static pod manifests that are really there (the real places) and
//! the operator's own entries (which have the last word). Making it is a pure function of their texts.

mod copies;
mod manifests;
mod names;
mod note;
mod places;
mod services;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::{AbsolutePath, Authority, AuthorityName, Credential, CredentialName, Location, Need, Renewal, Service, TrialAt};
use crate::settings::{Origin, OwnAuthority, OwnCredential, Profile, Settings, Stated, Trial};
use manifests::Manifests;
pub use note::Note;
use places::Places;

/// What there is on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The authorities.
    pub authorities: Vec<Authority>,
    /// The credentials, those of the profile first.
    pub credentials: Vec<Credential>,
    /// The services, in the order in which they are restarted.
    pub services: Vec<Service>,
    /// The kubeconfigs by which kubelet comes to the client certificate that it renews itself.
    pub kubeconfigs: BTreeMap<CredentialName, AbsolutePath>,
    /// Where new client certificates are tried before they take the place of the old ones.
    pub trials: BTreeMap<CredentialName, TrialAt>,
    /// The names and addresses that credentials are served at, as far as the manifests say.
    pub wanted_names: BTreeMap<CredentialName, Vec<String>>,
    /// How many members etcd had when this node joined, as its manifest says; 0 without a manifest.
    pub etcd_members: usize,
    /// By which address the API server of this node is known to the cluster, as its manifest says.
    pub api_server_address: Option<String>,
    /// What the operator should know about how the catalog came to be.
    pub notes: Vec<Note>,
}

/// What the caller found on the node.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The files of the manifests folder: name and text. None, when there is no such folder.
    pub manifests: &'a [(String, String)],
    /// For each kubeconfig of [`Profile::kubeconfig_references`]: where its user's certificate is. None for one that has none, or is
    /// not there.
    pub references: &'a BTreeMap<AbsolutePath, Reference>,
    /// Whether there is a file at a path.
    pub exists: &'a dyn Fn(&AbsolutePath) -> bool,
}

/// Where a kubeconfig has the client certificate of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In files; often one file for both.
    Files {
        /// The certificate's.
        certificate: AbsolutePath,
        /// The key's.
        key: AbsolutePath,
    },
    /// In itself.
    Embedded,
}

/// Entries of the operator that can't stand beside the rest of the catalog.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CatalogError {
    /// Nobody is known to sign it.
    #[error("{origin}: [[credential]] {credential:?}: authority = {authority:?} is not known; there are {known}", credential = credential.as_str(), authority = authority.as_str())]
    UnknownAuthority {
        /// Where the entry is.
        origin: Origin,
        /// Its name.
        credential: CredentialName,
        /// The authority it names.
        authority: AuthorityName,
        /// The ones there are.
        known: String,
    },
    /// The name is kubeadm's for something that has another one here.
    #[error("{origin}: [[credential]] {taken:?} is kubeadm's name for {name:?}: use that one to take its place, or another for your own", taken = taken.as_str(), name = name.as_str())]
    NameTaken {
        /// Where the entry is.
        origin: Origin,
        /// The name of the entry.
        taken: CredentialName,
        /// The name that the credential has here.
        name: CredentialName,
    },
    /// Pods mount the folders of certificates, and would see the backups.
    #[error("{state} lies in {folder}, where {authority} has its certificate, and which pods mount: choose a folder that nothing else reads", folder = folder.display())]
    StateAmongCertificates {
        /// `paths.state`.
        state: Box<Stated>,
        /// The folder.
        folder: PathBuf,
        /// The authority in it.
        authority: AuthorityName,
    },
    /// There is nothing of that name to copy.
    #[error("{origin}: [[copy]]: of = {of:?} is not known, or is a copy itself; there are {known}", of = of.as_str())]
    UnknownOriginal {
        /// Where the entry is.
        origin: Origin,
        /// What it would be a copy of.
        of: CredentialName,
        /// What there is.
        known: String,
    },
    /// The name of a copy is another credential's.
    #[error("{origin}: [[copy]] {name:?} has the name of a credential: give it one of its own, or none", name = name.as_str())]
    CopyNamed {
        /// Where the entry is.
        origin: Origin,
        /// The name.
        name: CredentialName,
    },
    /// A copy would take the place of a credential.
    #[error("{origin}: [[copy]]: {file} is where {other:?} lives: a copy is another file", other = other.as_str())]
    CopyInPlace {
        /// Where the entry is.
        origin: Origin,
        /// The file.
        file: AbsolutePath,
        /// The credential, or the other copy.
        other: CredentialName,
    },
    /// The same file would be renewed under two names.
    #[error("{origin}: [[credential]] {credential:?} lives in {file}, and so does {other:?}: leave one of them out, or give this one the name of the other to take its place", credential = credential.as_str(), other = other.as_str())]
    SharedFile {
        /// Where the entry is.
        origin: Origin,
        /// Its name.
        credential: CredentialName,
        /// The file.
        file: AbsolutePath,
        /// The other credential.
        other: CredentialName,
    },
}

impl Catalog {
    /// Makes the catalog.
    ///
    /// # Errors
    /// [`CatalogError`], when an entry of the operator can't stand beside the rest. What is wrong with a manifest is
    /// never an error: it becomes a [`Note`], and the usual places are kept.
    pub fn build(settings: &Settings, profile: &Profile, found: Found<'_>) -> Result<Self, CatalogError> {
        let mut notes = Vec::new();
        let manifests = Manifests::read(found.manifests, &mut notes);
        let services = services::all(profile, &manifests);
        let wanted_names = names::wanted(profile, &manifests);
        let mut places = Places::new(&manifests, found, &mut notes);
        let authorities = authorities(settings, profile, &mut places);
        let credentials = credentials(settings, profile, &mut places);
        check_own(settings, &authorities, &credentials)?;
        check_state(settings, &authorities)?;
        let etcd_members = manifests.etcd_members();
        let api_server_address = manifests.api_server_address().map(str::to_owned);
        let trials = trials(profile, &services);
        let kubeconfigs = kubeconfigs(settings, profile, found);
        let mut catalog =
            Self { authorities, credentials, services, kubeconfigs, trials, wanted_names, etcd_members, api_server_address, notes };
        catalog.join_shared();
        Ok(catalog)
    }

    /// Where two flags name the same files, it is one credential: it is renewed once, and all who use it are told.
    fn join_shared(&mut self) {
        let mut kept: Vec<Credential> = Vec::new();
        for credential in std::mem::take(&mut self.credentials) {
            match kept.iter_mut().find(|other| other.location == credential.location) {
                None => kept.push(credential),
                Some(other) => {
                    let uses = self.services.iter_mut().flat_map(|service| &mut service.uses);
                    uses.filter(|one| one.credential == credential.name).for_each(|one| one.credential = other.name.clone());
                    let wanted = self.wanted_names.remove(&credential.name).unwrap_or_default();
                    self.wanted_names.entry(other.name.clone()).or_default().extend(wanted);
                    if other.need == Need::Optional {
                        other.need = credential.need;
                    }
                    self.notes.push(Note::Shared { joined: credential.name, kept: other.name.clone(), file: credential.location });
                }
            }
        }
        self.credentials = kept;
    }
}

fn authorities(settings: &Settings, profile: &Profile, places: &mut Places<'_>) -> Vec<Authority> {
    let mut own: Vec<&OwnAuthority> = settings.authorities.iter().collect();
    let mut all = Vec::new();
    for usual in &profile.authorities {
        let replaced = own.iter().position(|entry| entry.name == usual.name).map(|index| own.remove(index));
        all.push(match replaced {
            Some(entry) => Authority { root: usual.root, ..own_authority(entry) },
            None => places.authority(usual),
        });
    }
    all.extend(own.into_iter().map(own_authority));
    all
}

fn own_authority(entry: &OwnAuthority) -> Authority {
    let OwnAuthority { name, certificate, key, .. } = entry.clone();
    Authority { name, certificate, key, root: false, need: Need::Configured }
}

fn credentials(settings: &Settings, profile: &Profile, places: &mut Places<'_>) -> Vec<Credential> {
    let mut own: Vec<&OwnCredential> = settings.credentials.iter().collect();
    let mut all = Vec::new();
    for usual in &profile.credentials {
        let replaced = own.iter().position(|entry| entry.name == usual.name).map(|index| own.remove(index));
        all.push(match replaced {
            Some(entry) => {
                let own = own_credential(entry);
                Credential {
                    kubeadm_name: usual.kubeadm_name.clone(),
                    authority: own.authority.or_else(|| usual.authority.clone()),
                    renewal: usual.renewal.clone(),
                    ..own
                }
            }
            None => places.credential(usual, &all, &profile.credentials),
        });
    }
    all.extend(own.into_iter().map(own_credential));
    all
}

/// None where the operator has an entry of his own, or the kubeconfig has no certificate.
fn kubeconfigs(settings: &Settings, profile: &Profile, found: Found<'_>) -> BTreeMap<CredentialName, AbsolutePath> {
    let usual = profile.credentials.iter().filter(|usual| !settings.credentials.iter().any(|own| own.name == usual.name));
    let referenced = usual.filter_map(|usual| Some((usual.name.clone(), usual.referenced_by.clone()?)));
    referenced.filter(|(_, kubeconfig)| found.references.contains_key(kubeconfig)).collect()
}

/// None where the service is not on this node.
fn trials(profile: &Profile, services: &[Service]) -> BTreeMap<CredentialName, TrialAt> {
    let at = |trial: &Trial| match &trial.service {
        None => Some(TrialAt::Kubeconfig(trial.path.clone())),
        Some(name) => {
            let service = services.iter().find(|service| service.name == *name)?;
            let address = service.uses.iter().find_map(|one| one.served_at.as_ref())?;
            Some(TrialAt::Url { url: format!("https://{address}{}", trial.path), user: trial.user.clone() })
        }
    };
    profile.credentials.iter().filter_map(|usual| Some((usual.name.clone(), at(usual.trial.as_ref()?)?))).collect()
}

fn own_credential(entry: &OwnCredential) -> Credential {
    let OwnCredential { name, authority, optional, location, .. } = entry.clone();
    let renewal = if authority.is_some() { Renewal::Ours } else { Renewal::Elsewhere };
    let need = if optional { Need::Optional } else { Need::Configured };
    Credential { name, kubeadm_name: None, location, authority, renewal, need }
}

fn check_state(settings: &Settings, authorities: &[Authority]) -> Result<(), CatalogError> {
    let state = &settings.paths.state;
    if *state.origin() == Origin::Default {
        // Nobody chose it, and who has a certificate in /var/lib itself has done nothing wrong.
        return Ok(());
    }
    let folder_of = |authority: &Authority| authority.certificate.as_path().parent().map(Path::to_owned);
    let inside = authorities.iter().find_map(|one| {
        let folder = folder_of(one).filter(|folder| folder.parent().is_some() && state.as_path().starts_with(folder))?;
        Some(CatalogError::StateAmongCertificates { state: Box::new(state.stated()), folder, authority: one.name.clone() })
    });
    inside.map_or(Ok(()), Err)
}

fn check_own(settings: &Settings, authorities: &[Authority], credentials: &[Credential]) -> Result<(), CatalogError> {
    for own in &settings.credentials {
        check_authority(own, authorities)?;
        check_name(own, credentials)?;
        check_files(own, credentials)?;
    }
    Ok(())
}

fn check_authority(own: &OwnCredential, authorities: &[Authority]) -> Result<(), CatalogError> {
    let Some(named) = &own.authority else { return Ok(()) };
    if authorities.iter().any(|authority| authority.name == *named) {
        return Ok(());
    }
    let known: Vec<&str> = authorities.iter().map(|authority| authority.name.as_str()).collect();
    let (credential, authority) = (own.name.clone(), named.clone());
    Err(CatalogError::UnknownAuthority { origin: own.origin.clone(), credential, authority, known: known.join(", ") })
}

fn check_name(own: &OwnCredential, credentials: &[Credential]) -> Result<(), CatalogError> {
    match credentials.iter().find(|credential| credential.kubeadm_name.as_ref() == Some(&own.name)) {
        Some(other) => Err(CatalogError::NameTaken { origin: own.origin.clone(), taken: own.name.clone(), name: other.name.clone() }),
        None => Ok(()),
    }
}

fn check_files(own: &OwnCredential, credentials: &[Credential]) -> Result<(), CatalogError> {
    let others = credentials.iter().filter(|other| other.name != own.name);
    let mut shared = others.flat_map(|other| other.location.files().map(move |file| (other, file)));
    match shared.find(|(_, file)| own.location.files().any(|mine| mine == *file)) {
        Some((other, file)) => Err(CatalogError::SharedFile {
            origin: own.origin.clone(),
            credential: own.name.clone(),
            file: file.clone(),
            other: other.name.clone(),
        }),
        None => Ok(()),
    }
}

impl Profile {
    /// The kubeconfigs whose references the catalog asks for.
    pub fn kubeconfig_references(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.credentials.iter().filter_map(|credential| credential.referenced_by.as_ref())
    }
}

fn pair(certificate: AbsolutePath, key: AbsolutePath) -> Location {
    Location::Pair { certificate, key }
}

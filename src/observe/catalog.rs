//! The catalog: what there is on this node, where it really lives and whether it is needed.
//!
//! It is made of the profile (the usual places), the static pod manifests that are really there
//! (the real places) and the operator's own entries (which have the last word). Making it is a pure
//! function of their texts.

mod checks;
mod copies;
mod found;
mod manifests;
pub(super) mod names;
mod note;
mod own;
mod places;
mod services;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    AbsolutePath, Authority, Credential, CredentialName, Need, Renewal, Service, TrialAt,
};
use crate::settings::{OwnAuthority, OwnCredential, Profile, Settings, Trial};
pub use checks::CatalogError;
pub use found::{Found, Reference};
use manifests::Manifests;
pub use names::Wanted;
pub use note::Note;
use own::take;
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
    /// For which names and addresses certificates are wanted, where something says that.
    pub wanted_names: BTreeMap<CredentialName, Wanted>,
    /// How many members etcd had when this node joined, as its manifest says; 0 without a manifest.
    pub etcd_members: usize,
    /// By which address the API server of this node is known to the cluster, as its manifest says.
    pub api_server_address: Option<String>,
    /// What the operator should know about how the catalog came to be.
    pub notes: Vec<Note>,
}

impl Catalog {
    /// The copies among the credentials.
    pub fn copies(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.iter().filter(|credential| credential.copy_of().is_some())
    }

    /// What has copies, each once.
    #[must_use]
    pub fn originals(&self) -> BTreeSet<&CredentialName> {
        self.credentials
            .iter()
            .filter_map(|credential| Some(&credential.copy_of()?.original))
            .collect()
    }

    /// The authority that a credential names, if it is listed.
    #[must_use]
    pub fn authority_of(&self, credential: &Credential) -> Option<&Authority> {
        let name = credential.authority.as_ref()?;
        self.authorities.iter().find(|authority| authority.name == *name)
    }

    /// Makes the catalog.
    ///
    /// # Errors
    /// [`CatalogError`], when an entry of the operator can't stand beside the rest. What
    /// is wrong with a manifest is never an error: it becomes a [`Note`], and the usual places are
    /// kept.
    pub fn build(
        settings: &Settings,
        profile: &Profile,
        found: Found<'_>,
    ) -> Result<Self, CatalogError> {
        let mut notes = Vec::new();
        let manifests = Manifests::read(found.manifests, &mut notes);
        let services = services::all(settings, profile, &manifests);
        let wanted_names = names::wanted(profile, &manifests);
        let mut places = Places::new(&manifests, found, &mut notes);
        let authorities = authorities(settings, profile, &mut places);
        let credentials = credentials(settings, profile, &mut places);
        checks::own(settings, &authorities, &credentials, &services)?;
        let listed: BTreeSet<_> =
            credentials.iter().map(|credential| credential.name.clone()).collect();
        checks::state(settings, &authorities)?;
        let etcd_members = manifests.etcd_members();
        let api_server_address = manifests.api_server_address().map(str::to_owned);
        let trials = trials(settings, profile, &services);
        let kubeconfigs = kubeconfigs(settings, profile, found);
        let mut catalog = Self {
            authorities,
            credentials,
            services,
            kubeconfigs,
            trials,
            wanted_names,
            etcd_members,
            api_server_address,
            notes,
        };
        catalog.join_shared();
        catalog.add_copies(settings, found.matching)?;
        checks::uses(settings, &listed, &catalog.credentials)?;
        Ok(catalog)
    }

    /// Where two flags name the same files, it is one credential: it is renewed once, and all who
    /// use it are told.
    fn join_shared(&mut self) {
        let mut kept: Vec<Credential> = Vec::new();
        for credential in std::mem::take(&mut self.credentials) {
            match kept.iter_mut().find(|other| other.location == credential.location) {
                None => kept.push(credential),
                Some(other) => {
                    let uses = self.services.iter_mut().flat_map(|service| &mut service.uses);
                    uses.filter(|one| one.credential == credential.name)
                        .for_each(|one| one.credential = other.name.clone());
                    let wanted = self.wanted_names.remove(&credential.name).unwrap_or_default();
                    self.wanted_names.entry(other.name.clone()).or_default().join(wanted);
                    if other.need == Need::Optional {
                        other.need = credential.need;
                    }
                    self.notes.push(Note::Shared {
                        joined: credential.name,
                        kept: other.name.clone(),
                        file: credential.location,
                    });
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
        all.push(match take(&mut own, |entry| entry.name == usual.name) {
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
        all.push(match take(&mut own, |entry| entry.name == usual.name) {
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
fn kubeconfigs(
    settings: &Settings,
    profile: &Profile,
    found: Found<'_>,
) -> BTreeMap<CredentialName, AbsolutePath> {
    let usual = profile
        .credentials
        .iter()
        .filter(|usual| !settings.credentials.iter().any(|own| own.name == usual.name));
    let referenced =
        usual.filter_map(|usual| Some((usual.name.clone(), usual.referenced_by.clone()?)));
    referenced.filter(|(_, kubeconfig)| found.references.contains_key(kubeconfig)).collect()
}

/// None where the service is not on this node. An own entry in the place of the profile's is tried
/// where that one would be, unless it says something else.
fn trials(
    settings: &Settings,
    profile: &Profile,
    services: &[Service],
) -> BTreeMap<CredentialName, TrialAt> {
    let at = |trial: &Trial| match &trial.service {
        None => Some(TrialAt::Kubeconfig(trial.path.clone())),
        Some(name) => {
            let service = services.iter().find(|service| service.name == *name)?;
            let address = service.uses.iter().find_map(|one| one.served_at.as_ref())?;
            Some(TrialAt::Url {
                url: format!("https://{address}{}", trial.path),
                user: trial.user.clone(),
            })
        }
    };
    let usual = profile.credentials.iter().map(|usual| (&usual.name, &usual.trial));
    let own = settings.credentials.iter().map(|own| (&own.name, &own.trial));
    usual
        .chain(own)
        .filter_map(|(name, trial)| Some((name.clone(), at(trial.as_ref()?)?)))
        .collect()
}

fn own_credential(entry: &OwnCredential) -> Credential {
    let OwnCredential { name, authority, optional, location, .. } = entry.clone();
    let renewal = if authority.is_some() { Renewal::Ours } else { Renewal::Elsewhere };
    let need = if optional { Need::Optional } else { Need::Configured };
    Credential { name, kubeadm_name: None, location, authority, renewal, need }
}

impl Profile {
    /// The kubeconfigs whose references the catalog asks for.
    pub fn kubeconfig_references(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.credentials.iter().filter_map(|credential| credential.referenced_by.as_ref())
    }
}

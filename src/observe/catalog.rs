//! The catalog: the authorities, credentials and services of this node, where they are and which
//! are needed.
//!
//! It is built from the profile (the default places), the static pod manifests (the real places)
//! and the operator's own entries (which override both). Building it is a pure function of their
//! texts.

mod checks;
mod consumers;
mod copies;
mod input;
mod kubelet;
mod manifests;
pub(super) mod names;
mod note;
mod own;
mod places;
mod services;
mod serving;
pub(super) mod templates;
mod trusts;
mod unclear;
mod users;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    AbsolutePath, Authority, Credential, CredentialName, Location, Need, OtherKey, Renewal,
    Service, ServiceKind, StaticConsumer, TrialAt,
};
use crate::settings::{OwnAuthority, OwnCredential, Profile, ProfileCredential, Settings, Trial};
pub use checks::CatalogError;
pub use input::{CatalogInput, ConfigurationReader, KubeconfigUsers, ManifestFile, Reference};
pub use kubelet::{KubeletServing, KubeletSettings};
use manifests::Manifests;
pub use manifests::parse_manifests;
pub(in crate::observe) use manifests::stem;
pub use names::Wanted;
pub use note::Note;
use own::take;
use places::Places;
pub use templates::CatalogTemplate;

/// The name of the administrator's credential.
const ADMINISTRATOR: &str = "admin.conf";

/// The CA of the front proxy.
const FRONT_PROXY_CA: &str = "front-proxy-ca";

/// The authorities, credentials and services of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The authorities.
    pub authorities: Vec<Authority>,
    /// The credentials, those of the profile first.
    pub credentials: Vec<Credential>,
    /// The services, in the order in which they are restarted.
    pub services: Vec<Service>,
    /// Static pods that use credentials, and that no service stands for.
    pub consumers: Vec<StaticConsumer>,
    /// The same as services that an operator has to restart.
    pub by_hand: Vec<Service>,
    /// The main containers of static pods that have another name than their pod, by the pod.
    pub main_containers: BTreeMap<String, String>,
    /// The kubeconfigs through which kubelet finds the client certificate that it renews itself.
    pub kubeconfigs: BTreeMap<CredentialName, AbsolutePath>,
    /// Why kubelet does not renew its client certificate; `None` where it does, or that is not
    /// known.
    pub rotation_off: Option<String>,
    /// Where new client certificates are tried before they replace the old ones.
    pub trials: BTreeMap<CredentialName, TrialAt>,
    /// The names and addresses that certificates must be valid for, where they are known.
    pub wanted_names: BTreeMap<CredentialName, Wanted>,
    /// The subjects that the profile gives to credentials.
    pub subjects: BTreeMap<CredentialName, Vec<String>>,
    /// The serving certificates that only flags name: any CA of the node may have signed them.
    pub serving: BTreeSet<CredentialName>,
    /// What credentials may be made from where they are lost.
    pub templates: BTreeMap<CredentialName, CatalogTemplate>,
    /// Files that are no credential and that no renewal replaces.
    pub protected: Vec<AbsolutePath>,
    /// How many members etcd had when this node joined, as its manifest says; 0 without a manifest.
    pub etcd_members: usize,
    /// The address under which the cluster knows this node's API server, as its manifest says.
    pub api_server_address: Option<String>,
    /// The URL of this node's API server, as its manifest says.
    pub api_server_url: Option<String>,
    /// The name of this node's etcd, as its manifest says.
    pub etcd_name: Option<String>,
    /// Notes for the operator about building the catalog.
    pub notes: Vec<Note>,
}

impl Catalog {
    /// Returns the copies among the credentials.
    pub fn copies(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.iter().filter(|credential| credential.copy_of().is_some())
    }

    /// Returns the administrator's credential, admin.conf: its user may do what kubelet's may not.
    #[must_use]
    pub fn administrator(&self) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.name.as_str() == ADMINISTRATOR)
    }

    /// Returns the cluster's root CA, where the profile has one.
    #[must_use]
    pub fn root_authority(&self) -> Option<&Authority> {
        self.authorities.iter().find(|authority| authority.root)
    }

    /// Returns the CA of the front proxy, where the profile has one.
    #[must_use]
    pub fn front_proxy_authority(&self) -> Option<&Authority> {
        self.authorities.iter().find(|authority| authority.name.as_str() == FRONT_PROXY_CA)
    }

    /// Returns the credentials that have copies, each once.
    #[must_use]
    pub fn originals(&self) -> BTreeSet<&CredentialName> {
        self.credentials
            .iter()
            .filter_map(|credential| Some(&credential.copy_of()?.original))
            .collect()
    }

    /// Returns the kubeconfigs with which programs of this node reach the API server, each with the
    /// credential that it is part of. A copy is not among them: it may be any user's.
    #[must_use]
    pub fn kubeconfig_files(&self) -> Vec<(CredentialName, AbsolutePath)> {
        let own = self.credentials.iter().filter(|credential| credential.copy_of().is_none());
        let own = own.filter_map(|credential| match &credential.location {
            Location::Kubeconfig(file) => Some((credential.name.clone(), file.clone())),
            // The CA of another user's kubeconfig is that of the file.
            Location::Pair { .. } | Location::Bundle(_) | Location::KubeconfigUser { .. } => None,
        });
        let kubelets = self.kubeconfigs.iter().map(|(name, file)| (name.clone(), file.clone()));
        own.chain(kubelets).collect()
    }

    /// Returns those of [`Self::kubeconfig_files`] that are not kubelet's.
    pub fn kubeconfigs_of_others(&self) -> impl Iterator<Item = (CredentialName, AbsolutePath)> {
        let is_kubelets = |file: &AbsolutePath| self.kubeconfigs.values().any(|one| one == file);
        self.kubeconfig_files().into_iter().filter(move |(_, file)| !is_kubelets(file))
    }

    /// Whether a manifest is by its name that of a component of the profile for which none was
    /// read.
    pub(super) fn lacks_manifest_of(&self, profile: &Profile, file: &str) -> bool {
        let is_read = |service: &Service| {
            matches!(&service.kind, ServiceKind::StaticPod { manifest: Some(_), .. })
        };
        let usual = profile.services.iter().find(|usual| usual.kind.pod() == Some(stem(file)));
        usual.is_some_and(|usual| {
            !self.services.iter().any(|service| service.name == usual.name && is_read(service))
        })
    }

    /// Returns the authority that a credential names, if it is listed.
    #[must_use]
    pub fn authority_of(&self, credential: &Credential) -> Option<&Authority> {
        let name = credential.authority.as_ref()?;
        self.authorities.iter().find(|authority| authority.name == *name)
    }

    /// Builds the catalog.
    ///
    /// # Errors
    /// [`CatalogError`], when an entry of the operator conflicts with the rest. An error in a
    /// manifest never is one: it becomes a [`Note`], and the default places are kept.
    pub fn build(
        settings: &Settings,
        profile: &Profile,
        found: CatalogInput<'_>,
    ) -> Result<Self, CatalogError> {
        let mut notes = Vec::new();
        let components = profile.pods();
        let manifests =
            Manifests::read(found.manifests, &components, found.configuration, &mut notes);
        unclear::note(settings, profile, &manifests, &mut notes);
        let mut services = services::all(settings, profile, &manifests);
        let wanted_names = names::wanted(profile, &manifests);
        let mut places = Places::new(&manifests, found, &mut notes);
        let authorities = authorities(settings, profile, &mut places);
        let mut credentials = credentials(settings, profile, &mut places);
        if let Some(found) = found.kubelet {
            let serving = profile.credentials.iter().find(|usual| kubelet::is_serving(usual));
            if let Some(serving) = serving {
                kubelet::serve_at(&found.address, &serving.name, &mut services);
            }
            kubelet::yield_to_own(settings, &mut credentials, &mut services);
        }
        let protected = places.protected(&profile.protected);
        trusts::find(&mut services, settings, profile, &mut places, &credentials);
        let subjects =
            profile.credentials.iter().map(|usual| (usual.name.clone(), usual.subjects.clone()));
        let subjects = subjects.collect();
        checks::own(settings, &authorities, &credentials, &services)?;
        checks::state(settings, &authorities)?;
        let etcd_members = manifests.etcd_members();
        let api_server_address = manifests.api_server_address().map(str::to_owned);
        let main_containers = manifests.main_containers();
        let api_server_url = manifests.api_server_url();
        let etcd_name = manifests.etcd_name().map(str::to_owned);
        let templates = templates::templates(settings, profile, &manifests, &credentials);
        let trials = trials(settings, profile, &services);
        let kubeconfigs = kubeconfigs(settings, profile, found);
        let mut catalog = Self {
            authorities,
            credentials,
            services,
            consumers: Vec::new(),
            by_hand: Vec::new(),
            main_containers,
            kubeconfigs,
            rotation_off: found.kubelet.and_then(|kubelet| kubelet.rotation_off.clone()),
            trials,
            wanted_names,
            subjects,
            serving: BTreeSet::new(),
            templates,
            protected,
            etcd_members,
            api_server_address,
            api_server_url,
            etcd_name,
            notes,
        };
        let mut listed: BTreeSet<_> =
            catalog.credentials.iter().map(|credential| credential.name.clone()).collect();
        catalog.leave_out_absent(profile, found.exists);
        catalog.find_current_users(found.users);
        catalog.join_shared(found);
        catalog.add_serving(settings, profile, &manifests, found);
        listed.extend(catalog.serving.iter().cloned());
        catalog.add_copies(settings, found.matching)?;
        catalog.add_users(found.users);
        checks::uses(settings, &listed, &catalog.credentials)?;
        catalog.find_consumers(&manifests);
        Ok(catalog)
    }

    /// Leaves out the credentials that the profile lists only where they exist.
    fn leave_out_absent(&mut self, profile: &Profile, exists: &dyn Fn(&AbsolutePath) -> bool) {
        let usual = |one: &Credential| profile.credentials.iter().find(|it| it.name == one.name);
        let is_absent = |one: &Credential| {
            usual(one).is_some_and(|usual| usual.if_present)
                && one.need == Need::Optional
                && !one.location.files().any(exists)
        };
        let (absent, listed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.credentials).into_iter().partition(is_absent);
        self.credentials = listed;
        let is_listed = |name: &CredentialName| !absent.iter().any(|one| one.name == *name);
        for service in &mut self.services {
            service.uses.retain(|one| is_listed(&one.credential));
        }
    }

    /// Joins credentials for which two flags name the same files, also through links: the
    /// credential is renewed once, and all services that use it are refreshed.
    fn join_shared(&mut self, found: CatalogInput<'_>) {
        let mut kept: Vec<Credential> = Vec::new();
        for credential in std::mem::take(&mut self.credentials) {
            let same =
                |other: &&mut Credential| found.is_same(&other.location, &credential.location);
            match kept.iter_mut().find(same) {
                None => kept.push(credential),
                Some(other) => {
                    let uses = self.services.iter_mut().flat_map(|service| &mut service.uses);
                    uses.filter(|one| one.credential == credential.name)
                        .for_each(|one| one.credential = other.name.clone());
                    let wanted = self.wanted_names.remove(&credential.name).unwrap_or_default();
                    self.wanted_names.entry(other.name.clone()).or_default().join(wanted);
                    // Neither template is for both.
                    self.templates.remove(&credential.name);
                    self.templates.remove(&other.name);
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
            Some(entry) => Authority {
                root: usual.root,
                key_elsewhere: usual.key_elsewhere,
                clients_may: usual.clients_may.clone(),
                ..own_authority(entry)
            },
            None => places.authority(usual),
        });
    }
    all.extend(own.into_iter().map(own_authority));
    add_twins(&mut all);
    all
}

/// Adds the keys of the other authorities: a cluster may have one CA for everything.
fn add_twins(authorities: &mut [Authority]) {
    let all = authorities.to_vec();
    for authority in authorities {
        let others = all.iter().filter(|other| other.name != authority.name);
        let keys = others.flat_map(|other| {
            other.keys().map(|key| OtherKey::OfTwin {
                certificate: other.certificate.clone(),
                key: key.clone(),
            })
        });
        let own: Vec<_> = authority.keys().cloned().collect();
        authority.other_keys.extend(keys.filter(|key| !own.contains(key.file())));
    }
}

fn own_authority(entry: &OwnAuthority) -> Authority {
    let OwnAuthority { name, certificate, key, .. } = entry.clone();
    Authority {
        name,
        certificate,
        key,
        other_keys: Vec::new(),
        clients: None,
        clients_may: None,
        root: false,
        key_elsewhere: false,
        need: Need::Configured,
    }
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
                    renewal: if kubelet::is_serving(usual) {
                        kubelet::renewal_of_own(entry)
                    } else {
                        usual.renewal.clone()
                    },
                    ..own
                }
            }
            None => places.credential(usual, &all, &profile.credentials),
        });
    }
    all.extend(own.into_iter().map(own_credential));
    all
}

/// Leaves out credentials with an entry of the operator, and kubeconfigs without a certificate.
fn kubeconfigs(
    settings: &Settings,
    profile: &Profile,
    found: CatalogInput<'_>,
) -> BTreeMap<CredentialName, AbsolutePath> {
    let usual = profile
        .credentials
        .iter()
        .filter(|usual| !settings.credentials.iter().any(|own| own.name == usual.name));
    let is_lost = |usual: &ProfileCredential, kubeconfig: &AbsolutePath| {
        // A machine that has not joined a cluster yet has neither.
        let is_node = !found.manifests.is_empty() || usual.location.files().any(found.exists);
        is_node && found.kubelet.is_some_and(|kubelet| kubelet.misses(kubeconfig, found.exists))
    };
    let referenced = usual.filter_map(|usual| {
        let kubeconfig = usual.referenced_by.as_ref()?;
        let found = found.references.contains_key(kubeconfig) || is_lost(usual, kubeconfig);
        found.then(|| (usual.name.clone(), kubeconfig.clone()))
    });
    referenced.collect()
}

/// Leaves out services that are not on this node. An own entry in place of the profile's is tried
/// where the profile's would be, unless it says otherwise.
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
    /// Returns the names of the pods of its services.
    fn pods(&self) -> Vec<&str> {
        self.services.iter().filter_map(|service| service.kind.pod()).collect()
    }

    /// Returns the kubeconfigs whose references the catalog needs.
    pub fn kubeconfig_references(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.credentials.iter().filter_map(|credential| credential.referenced_by.as_ref())
    }
}

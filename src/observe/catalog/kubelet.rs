//! kubelet's serving certificate: which files it is in and who renews it, by kubelet's
//! configuration.

use std::path::PathBuf;

use crate::model::{
    AbsolutePath, Credential, CredentialName, KubeletPair, Location, Need, Renewal, Service,
};
use crate::settings::{OwnCredential, ProfileCredential, Settings};

/// What kubelet does with its certificates, by its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletSettings {
    /// The certificate that it serves.
    pub serving: KubeletServing,
    /// Why it does not renew its client certificate; `None` where it does.
    pub rotation_off: Option<String>,
    /// Where it serves, `host:port`.
    pub address: String,
    /// The socket of its container runtime, where it is configured.
    pub runtime: Option<PathBuf>,
    /// The kubeconfig that its flags name.
    pub kubeconfig: Option<AbsolutePath>,
    /// The kubeconfig that its flags name for a node that has none of its own yet.
    pub bootstrap: Option<AbsolutePath>,
}

impl KubeletSettings {
    /// Whether kubelet can't start because this kubeconfig does not exist.
    pub(super) fn misses(
        &self,
        kubeconfig: &AbsolutePath,
        exists: &dyn Fn(&AbsolutePath) -> bool,
    ) -> bool {
        self.kubeconfig.as_ref() == Some(kubeconfig)
            && !exists(kubeconfig)
            && !self.bootstrap.as_ref().is_some_and(exists)
    }
}

/// The certificate that kubelet serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeletServing {
    /// The cluster signs it at kubelet's request. Until then the pair that the configuration names
    /// is served, if there is one.
    Requested {
        /// The link that kubelet sets to the newest one.
        bundle: AbsolutePath,
        /// The pair.
        before: Option<Location>,
    },
    /// Its configuration names a pair of files.
    Named {
        /// The pair.
        location: Location,
        /// The setting that names it, and its place.
        by: String,
    },
    /// A pair that kubelet makes where there is none.
    SelfSigned(Location),
}

/// Whether this is the entry for the certificate that kubelet serves: kubelet finds the other one
/// of its own through its kubeconfig.
pub(super) fn is_serving(usual: &ProfileCredential) -> bool {
    usual.renewal == Renewal::Kubelet && usual.referenced_by.is_none()
}

impl KubeletServing {
    /// Moves the profile's entry to the files that kubelet serves.
    pub(super) fn place(
        &self,
        credential: Credential,
        exists: &dyn Fn(&AbsolutePath) -> bool,
    ) -> Credential {
        let there = |location: &Location| location.files().all(exists);
        let (location, renewal, need) = match self {
            Self::Requested { bundle, before } => {
                let before = before.clone().filter(|pair| !exists(bundle) && there(pair));
                let location = before.unwrap_or_else(|| Location::Bundle(bundle.clone()));
                (location, Renewal::Kubelet, Need::Optional)
            }
            Self::Named { location, by } => (
                location.clone(),
                Renewal::Operator(KubeletPair::Named(by.clone())),
                Need::Kubelet(by.clone()),
            ),
            Self::SelfSigned(location) => {
                (location.clone(), Renewal::Operator(KubeletPair::SelfSigned), Need::Optional)
            }
        };
        Credential { location, renewal, need, ..credential }
    }
}

/// Who renews the certificate that kubelet serves, by the files alone: kubelet renews the combined
/// PEM that the cluster signed, and never a pair.
pub(super) fn renewal_by_files(location: &Location) -> Renewal {
    match location {
        Location::Bundle(_) => Renewal::Kubelet,
        Location::Pair { .. } | Location::Kubeconfig(_) | Location::KubeconfigUser { .. } => {
            Renewal::Operator(KubeletPair::SelfSigned)
        }
    }
}

/// Who renews what the operator's entry puts in the place of the profile's.
pub(super) fn renewal_of_own(own: &OwnCredential) -> Renewal {
    match (&own.authority, &own.location) {
        (Some(_), _) => Renewal::Ours,
        (None, Location::Bundle(_)) => Renewal::Kubelet,
        (
            None,
            Location::Pair { .. } | Location::Kubeconfig(_) | Location::KubeconfigUser { .. },
        ) => Renewal::Elsewhere,
    }
}

/// Lets an entry of the operator, of another name, take the place of the profile's where kubelet's
/// configuration names the same files: kubelet uses that one.
pub(super) fn yield_to_own(
    settings: &Settings,
    credentials: &mut Vec<Credential>,
    services: &mut [Service],
) {
    let named = |one: &Credential| matches!(one.need, Need::Kubelet(_));
    let Some(position) = credentials.iter().position(named) else { return };
    let Some(serving) = credentials.get(position) else { return };
    let own = settings.credentials.iter().find(|own| own.location == serving.location);
    let Some(own) = own.map(|own| own.name.clone()) else { return };
    let serving: CredentialName = credentials.remove(position).name;
    let uses = services.iter_mut().flat_map(|service| &mut service.uses);
    uses.filter(|one| one.credential == serving).for_each(|one| one.credential = own.clone());
}

/// Sets where kubelet serves, in the services of the profile.
pub(super) fn serve_at(address: &str, serving: &CredentialName, services: &mut [Service]) {
    let usual = services.iter_mut().filter(|service| !service.configured);
    let uses = usual.flat_map(|service| &mut service.uses);
    uses.filter(|one| one.credential == *serving && one.served_at.is_some())
        .for_each(|one| one.served_at = Some(address.to_owned()));
}

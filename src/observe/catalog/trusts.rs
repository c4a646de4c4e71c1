//! The files whose CA certificates services read only when they start.

use super::places::Places;
use crate::model::{AbsolutePath, Credential, CredentialName, Service, ServiceKind, TrustFile};
use crate::settings::{Profile, ProfileService, ProfileTrust, Settings};

/// Finds them for all services that are on this node. What the profile says of a service stays
/// where the operator has an entry of the same name.
pub(super) fn find(
    services: &mut [Service],
    settings: &Settings,
    profile: &Profile,
    places: &mut Places<'_>,
    credentials: &[Credential],
) {
    for service in services {
        if matches!(service.kind, ServiceKind::StaticPod { manifest: None, .. }) {
            continue;
        }
        let own = settings.services.iter().map(|own| &own.service);
        let entries = own.chain(&profile.services).filter(|entry| entry.name == service.name);
        for entry in entries {
            let file = |trust: &ProfileTrust| match trust {
                ProfileTrust::Flag(flag) => flagged(entry, flag, places).map(TrustFile::Pem),
                ProfileTrust::Kubeconfig(name) => {
                    kubeconfig(name, credentials, profile).cloned().map(TrustFile::Kubeconfig)
                }
                ProfileTrust::File(file) => Some(TrustFile::Pem(file.clone())),
            };
            service.trusts.extend(entry.trusts.iter().filter_map(file));
            let single = entry.one_certificate.as_ref();
            let single = single.and_then(|flag| flagged(entry, flag, places));
            service.one_certificate = service.one_certificate.take().or(single);
        }
        service.trusts.sort();
        service.trusts.dedup();
    }
}

fn flagged(entry: &ProfileService, flag: &str, places: &mut Places<'_>) -> Option<AbsolutePath> {
    places.file_of(entry.kind.pod()?, flag)
}

/// The kubeconfig that is a credential, or that it is part of.
fn kubeconfig<'c>(
    name: &CredentialName,
    credentials: &'c [Credential],
    profile: &'c Profile,
) -> Option<&'c AbsolutePath> {
    let entry = credentials.iter().find(|entry| entry.name == *name)?;
    let referencing = || {
        let usual = profile.credentials.iter().find(|usual| usual.name == *name)?;
        usual.referenced_by.as_ref()
    };
    entry.location.kubeconfig().or_else(referencing)
}

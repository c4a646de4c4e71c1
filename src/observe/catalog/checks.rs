//! Checks whether the operator's own entries conflict with the rest of the catalog.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::model::{
    AbsolutePath, Authority, AuthorityName, Credential, CredentialName, Location, Service,
    ServiceKind, ServiceName,
};
use crate::settings::{Origin, OwnCopy, OwnCredential, OwnService, ProfileTrust, Settings, Stated};

/// Why an entry of the operator conflicts with the rest of the catalog.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CatalogError {
    /// The authority that it names is not listed.
    #[error("{origin}: [[credential]] {credential:?}: ca = {authority:?} is not known; the CAs \
        are {known}", credential = credential.as_str(), authority = authority.as_str())]
    UnknownAuthority {
        /// The position of the entry.
        origin: Origin,
        /// Its name.
        credential: CredentialName,
        /// The authority it names.
        authority: AuthorityName,
        /// The known authorities.
        known: String,
    },
    /// The name is kubeadm's for a credential that has another name here.
    #[error("{origin}: [[credential]] {taken:?} is kubeadm's name for {name:?}: use that one to \
        take its place, or another for your own", taken = taken.as_str(), name = name.as_str())]
    NameTaken {
        /// The position of the entry.
        origin: Origin,
        /// The name of the entry.
        taken: CredentialName,
        /// The name of the credential here.
        name: CredentialName,
    },
    /// Pods mount the directories of certificates, and would see the backups.
    #[error("{state} is in {directory}, which holds the certificate of {authority} and which pods \
        mount: choose a directory that nothing else reads", directory = dir.display())]
    StateAmongCertificates {
        /// `paths.state`.
        state: Box<Stated>,
        /// The directory.
        dir: PathBuf,
        /// The authority in it.
        authority: AuthorityName,
    },
    /// The same file would be renewed under two names.
    #[error("{origin}: [[credential]] {credential:?} is in {file}, and so is {other:?}: leave one \
        of them out, or give this one the name of the other to take its \
        place", credential = credential.as_str(), other = other.as_str())]
    SharedFile {
        /// The position of the entry.
        origin: Origin,
        /// Its name.
        credential: CredentialName,
        /// The file.
        file: AbsolutePath,
        /// The other credential.
        other: CredentialName,
    },
    /// The original of a copy does not exist.
    #[error("{origin}: [[copy]]: of = {of:?} is not known, or is a copy itself; there are \
        {known}", of = of.as_str())]
    UnknownOriginal {
        /// The position of the entry.
        origin: Origin,
        /// The name of the original.
        of: CredentialName,
        /// The known credentials.
        known: String,
    },
    /// The name of a copy is another credential's.
    #[error("{origin}: [[copy]] {name:?} has the name of a credential: give it one of its own, or \
        none", name = name.as_str())]
    CopyNamed {
        /// The position of the entry.
        origin: Origin,
        /// The name.
        name: CredentialName,
    },
    /// A copy would overwrite a credential.
    #[error("{origin}: [[copy]]: {file} is a file of {other:?}: a copy is another \
        file", other = other.as_str())]
    CopyInPlace {
        /// The position of the entry.
        origin: Origin,
        /// The file.
        file: AbsolutePath,
        /// The credential, or the other copy.
        other: CredentialName,
    },
    /// A service uses an unknown credential.
    #[error("{origin}: [[service]] {service:?}: uses names {credential:?}, which is no credential; \
        there are {known}", service = service.as_str(), credential = credential.as_str())]
    UnknownCredential {
        /// The position of the entry.
        origin: Origin,
        /// Its name.
        service: ServiceName,
        /// The credential it names.
        credential: CredentialName,
        /// The known credentials.
        known: String,
    },
    /// A credential is to be tried at an unknown service, or at one that serves nothing.
    #[error("{origin}: [[credential]] {credential:?}: trial names the service {service:?}, \
        {problem}", credential = credential.as_str(), service = service.as_str())]
    NoTrial {
        /// The position of the entry.
        origin: Origin,
        /// Its name.
        credential: CredentialName,
        /// The service it names.
        service: ServiceName,
        /// The problem of that service.
        problem: &'static str,
    },
    /// The same service would be restarted under two names.
    #[error("{origin}: [[service]] {service:?} is {what}, and so is {other:?}: leave one of them \
        out, or give this one the name of the other to take its \
        place", service = service.as_str(), other = other.as_str())]
    SameService {
        /// The position of the entry.
        origin: Origin,
        /// Its name.
        service: ServiceName,
        /// The common unit, process or pod.
        what: String,
        /// The other service.
        other: ServiceName,
    },
}

pub(super) fn state(settings: &Settings, authorities: &[Authority]) -> Result<(), CatalogError> {
    let state = &settings.paths.state;
    if *state.origin() == Origin::Default {
        // It is the default, and an operator may keep a certificate in /var/lib itself.
        return Ok(());
    }
    let dir_of =
        |authority: &Authority| authority.certificate.as_path().parent().map(Path::to_owned);
    let inside = authorities.iter().find_map(|one| {
        let dir =
            dir_of(one).filter(|dir| dir.parent().is_some() && state.as_path().starts_with(dir))?;
        Some(CatalogError::StateAmongCertificates {
            state: Box::new(state.stated()),
            dir,
            authority: one.name.clone(),
        })
    });
    inside.map_or(Ok(()), Err)
}

/// Checks that every reference of an own entry exists, and that no file is listed twice.
pub(super) fn own(
    settings: &Settings,
    authorities: &[Authority],
    credentials: &[Credential],
    services: &[Service],
) -> Result<(), CatalogError> {
    for own in &settings.credentials {
        check_authority(own, authorities)?;
        check_name(own, credentials)?;
        check_files(own, credentials)?;
        check_trial(own, services)?;
    }
    settings.services.iter().try_for_each(|own| check_thing(own, services))
}

/// Checks that the credentials of a service are listed, or are copies. A file that matches the
/// pattern of a copy may appear later.
pub(super) fn uses(
    settings: &Settings,
    listed: &BTreeSet<CredentialName>,
    found: &[Credential],
) -> Result<(), CatalogError> {
    let known = |name: &CredentialName| {
        listed.contains(name)
            || found.iter().any(|credential| credential.name == *name)
            || settings.copies.iter().any(|copy| copy.means_several() && may_mean(copy, name))
    };
    settings.services.iter().try_for_each(|own| {
        let used = own.service.uses.iter().map(|one| &one.credential);
        let trusted = own.service.trusts.iter().filter_map(ProfileTrust::credential);
        match used.chain(trusted).find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => {
                let all: BTreeSet<&str> = listed
                    .iter()
                    .chain(found.iter().map(|one| &one.name))
                    .map(CredentialName::as_str)
                    .collect();
                let known = all.into_iter().collect::<Vec<_>>().join(", ");
                let (service, credential) = (own.service.name.clone(), name.clone());
                Err(CatalogError::UnknownCredential {
                    origin: own.origin.clone(),
                    service,
                    credential,
                    known,
                })
            }
        }
    })
}

/// Whether a copy found by this entry may have this name.
fn may_mean(own: &OwnCopy, name: &CredentialName) -> bool {
    match &own.name {
        Some(named) => {
            name.as_str().strip_prefix(named.as_str()).is_some_and(|rest| rest.starts_with('/'))
        }
        None => own.location.files().any(|pattern| {
            let (pattern, name) =
                (pattern.as_path().iter().skip(1), Path::new(name.as_str()).iter());
            pattern.clone().count() == name.clone().count()
                && pattern.zip(name).all(|(wanted, one)| wanted == "*" || wanted == one)
        }),
    }
}

fn check_authority(own: &OwnCredential, authorities: &[Authority]) -> Result<(), CatalogError> {
    let Some(named) = &own.authority else { return Ok(()) };
    if authorities.iter().any(|authority| authority.name == *named) {
        return Ok(());
    }
    let known: Vec<&str> = authorities.iter().map(|authority| authority.name.as_str()).collect();
    let (credential, authority) = (own.name.clone(), named.clone());
    Err(CatalogError::UnknownAuthority {
        origin: own.origin.clone(),
        credential,
        authority,
        known: known.join(", "),
    })
}

fn check_name(own: &OwnCredential, credentials: &[Credential]) -> Result<(), CatalogError> {
    match credentials.iter().find(|credential| credential.kubeadm_name.as_ref() == Some(&own.name))
    {
        Some(other) => Err(CatalogError::NameTaken {
            origin: own.origin.clone(),
            taken: own.name.clone(),
            name: other.name.clone(),
        }),
        None => Ok(()),
    }
}

fn check_files(own: &OwnCredential, credentials: &[Credential]) -> Result<(), CatalogError> {
    let others = credentials.iter().filter(|other| other.name != own.name);
    let mut shared = others.flat_map(|other| other.location.files().map(move |file| (other, file)));
    let is_taken = |(other, file): &(&Credential, &AbsolutePath)| {
        own.location.files().any(|mine| mine == *file) && !are_users(&own.location, &other.location)
    };
    match shared.find(is_taken) {
        Some((other, file)) => Err(CatalogError::SharedFile {
            origin: own.origin.clone(),
            credential: own.name.clone(),
            file: file.clone(),
            other: other.name.clone(),
        }),
        None => Ok(()),
    }
}

/// Whether they are different users of kubeconfigs, which may be in one file.
fn are_users(one: &Location, other: &Location) -> bool {
    one.kubeconfig().is_some() && other.kubeconfig().is_some() && one.user() != other.user()
}

fn check_trial(own: &OwnCredential, services: &[Service]) -> Result<(), CatalogError> {
    let Some(named) = own.trial.as_ref().and_then(|trial| trial.service.as_ref()) else {
        return Ok(());
    };
    let problem = match services.iter().find(|service| service.name == *named) {
        None => "which is not known",
        // On another node it may serve something: a static pod that is absent here is no error.
        Some(Service { kind: ServiceKind::StaticPod { .. }, .. }) => return Ok(()),
        Some(service) if service.uses.iter().any(|one| one.served_at.is_some()) => return Ok(()),
        Some(_) => "and where it serves is not known",
    };
    let (credential, service) = (own.name.clone(), named.clone());
    Err(CatalogError::NoTrial { origin: own.origin.clone(), credential, service, problem })
}

/// A command may refresh several services.
fn check_thing(own: &OwnService, services: &[Service]) -> Result<(), CatalogError> {
    let what = |kind: &ServiceKind| match kind {
        ServiceKind::StaticPod { pod, .. } => Some(format!("the static pod {pod}")),
        ServiceKind::Unit { unit, .. } => Some(format!("the unit {unit}")),
        ServiceKind::Process { pid_file, .. } => Some(format!("the process of {pid_file}")),
        ServiceKind::Command { .. } => None,
    };
    let Some(mine) = what(&own.service.kind) else { return Ok(()) };
    let mut others = services.iter().filter(|other| other.name != own.service.name);
    match others.find(|other| what(&other.kind).as_ref() == Some(&mine)) {
        Some(other) => Err(CatalogError::SameService {
            origin: own.origin.clone(),
            service: own.service.name.clone(),
            what: mine,
            other: other.name.clone(),
        }),
        None => Ok(()),
    }
}

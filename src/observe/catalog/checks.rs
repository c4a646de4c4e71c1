//! Whether the operator's own entries can stand beside the rest of the catalog.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::model::{
    AbsolutePath, Authority, AuthorityName, Credential, CredentialName, Service, ServiceKind,
    ServiceName,
};
use crate::settings::{Origin, OwnCopy, OwnCredential, OwnService, Settings, Stated};

/// Entries of the operator that can't stand beside the rest of the catalog.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CatalogError {
    /// Nobody is known to sign it.
    #[error("{origin}: [[credential]] {credential:?}: authority = {authority:?} is not known; \
        there are {known}", credential = credential.as_str(), authority = authority.as_str())]
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
    #[error("{origin}: [[credential]] {taken:?} is kubeadm's name for {name:?}: use that one to \
        take its place, or another for your own", taken = taken.as_str(), name = name.as_str())]
    NameTaken {
        /// Where the entry is.
        origin: Origin,
        /// The name of the entry.
        taken: CredentialName,
        /// The name that the credential has here.
        name: CredentialName,
    },
    /// Pods mount the folders of certificates, and would see the backups.
    #[error("{state} lies in {folder}, where {authority} has its certificate, and which pods \
        mount: choose a folder that nothing else reads", folder = folder.display())]
    StateAmongCertificates {
        /// `paths.state`.
        state: Box<Stated>,
        /// The folder.
        folder: PathBuf,
        /// The authority in it.
        authority: AuthorityName,
    },
    /// The same file would be renewed under two names.
    #[error("{origin}: [[credential]] {credential:?} lives in {file}, and so does {other:?}: leave \
        one of them out, or give this one the name of the other to take its \
        place", credential = credential.as_str(), other = other.as_str())]
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
    /// There is nothing of that name to copy.
    #[error("{origin}: [[copy]]: of = {of:?} is not known, or is a copy itself; there are \
        {known}", of = of.as_str())]
    UnknownOriginal {
        /// Where the entry is.
        origin: Origin,
        /// What it would be a copy of.
        of: CredentialName,
        /// What there is.
        known: String,
    },
    /// The name of a copy is another credential's.
    #[error("{origin}: [[copy]] {name:?} has the name of a credential: give it one of its own, or \
        none", name = name.as_str())]
    CopyNamed {
        /// Where the entry is.
        origin: Origin,
        /// The name.
        name: CredentialName,
    },
    /// A copy would take the place of a credential.
    #[error("{origin}: [[copy]]: {file} is where {other:?} lives: a copy is another \
        file", other = other.as_str())]
    CopyInPlace {
        /// Where the entry is.
        origin: Origin,
        /// The file.
        file: AbsolutePath,
        /// The credential, or the other copy.
        other: CredentialName,
    },
    /// A service uses something that is no credential.
    #[error("{origin}: [[service]] {service:?}: uses names {credential:?}, which is no credential; \
        there are {known}", service = service.as_str(), credential = credential.as_str())]
    UnknownCredential {
        /// Where the entry is.
        origin: Origin,
        /// Its name.
        service: ServiceName,
        /// The credential it names.
        credential: CredentialName,
        /// The ones there are.
        known: String,
    },
    /// A credential is to be tried at something that is no service, or serves nothing.
    #[error("{origin}: [[credential]] {credential:?}: trial names the service {service:?}, \
        {problem}", credential = credential.as_str(), service = service.as_str())]
    NoTrial {
        /// Where the entry is.
        origin: Origin,
        /// Its name.
        credential: CredentialName,
        /// The service it names.
        service: ServiceName,
        /// What is wrong with that one.
        problem: &'static str,
    },
    /// The same thing would be restarted under two names.
    #[error("{origin}: [[service]] {service:?} is {what}, and so is {other:?}: leave one of them \
        out, or give this one the name of the other to take its \
        place", service = service.as_str(), other = other.as_str())]
    SameService {
        /// Where the entry is.
        origin: Origin,
        /// Its name.
        service: ServiceName,
        /// What both are.
        what: String,
        /// The other service.
        other: ServiceName,
    },
}

pub(super) fn state(settings: &Settings, authorities: &[Authority]) -> Result<(), CatalogError> {
    let state = &settings.paths.state;
    if *state.origin() == Origin::Default {
        // Nobody chose it, and who has a certificate in /var/lib itself has done nothing wrong.
        return Ok(());
    }
    let folder_of =
        |authority: &Authority| authority.certificate.as_path().parent().map(Path::to_owned);
    let inside = authorities.iter().find_map(|one| {
        let folder = folder_of(one)
            .filter(|folder| folder.parent().is_some() && state.as_path().starts_with(folder))?;
        Some(CatalogError::StateAmongCertificates {
            state: Box::new(state.stated()),
            folder,
            authority: one.name.clone(),
        })
    });
    inside.map_or(Ok(()), Err)
}

/// Every reference of an own entry leads somewhere, and nothing is there twice.
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

/// What a service uses is listed, or is a copy. One that is a copy by a path for many files may be
/// there tomorrow.
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
        match own.service.uses.iter().find(|one| !known(&one.credential)) {
            None => Ok(()),
            Some(one) => {
                let all: BTreeSet<&str> = listed
                    .iter()
                    .chain(found.iter().map(|one| &one.name))
                    .map(CredentialName::as_str)
                    .collect();
                let known = all.into_iter().collect::<Vec<_>>().join(", ");
                let (service, credential) = (own.service.name.clone(), one.credential.clone());
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

/// Whether a copy that is found by this entry may have this name.
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

fn check_trial(own: &OwnCredential, services: &[Service]) -> Result<(), CatalogError> {
    let Some(named) = own.trial.as_ref().and_then(|trial| trial.service.as_ref()) else {
        return Ok(());
    };
    let problem = match services.iter().find(|service| service.name == *named) {
        None => "which is not known",
        // On another node it may serve something: a static pod that is not here is no mistake.
        Some(Service { kind: ServiceKind::StaticPod { .. }, .. }) => return Ok(()),
        Some(service) if service.uses.iter().any(|one| one.served_at.is_some()) => return Ok(()),
        Some(_) => "of which nothing says where it serves",
    };
    let (credential, service) = (own.name.clone(), named.clone());
    Err(CatalogError::NoTrial { origin: own.origin.clone(), credential, service, problem })
}

/// A command may well reach several things.
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

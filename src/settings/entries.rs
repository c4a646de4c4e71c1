//! The operator's own authorities, credentials and services, and where a credential lives as
//! configuration and profiles say it.

use serde::Deserialize;
use toml::Spanned;

use super::error::{EntryProblem, SettingsError};
use super::fragment::{location, wrong};
use super::origin::Origin;
use super::profile::service::{ServiceFragment, service};
use super::profile::{ProfileService, Trial};
use super::source::ConfigSource;
use crate::model::{AbsolutePath, AuthorityName, CredentialName, Location};

/// An authority that the operator lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAuthority {
    /// Its name.
    pub name: AuthorityName,
    /// The certificate.
    pub certificate: AbsolutePath,
    /// The private key; the file may be absent.
    pub key: AbsolutePath,
    /// Where it is listed.
    pub origin: Origin,
}

/// A credential that the operator lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCredential {
    /// Its name.
    pub name: CredentialName,
    /// The authority that signs it. Without one the credential is watched and never renewed, except
    /// when it replaces an entry of the profile: then it keeps that entry's authority.
    pub authority: Option<AuthorityName>,
    /// Whether it may be absent.
    pub optional: bool,
    /// Its location.
    pub location: Location,
    /// Where a new certificate is tried before it replaces the old one.
    pub trial: Option<Trial>,
    /// Where it is listed.
    pub origin: Origin,
}

/// A service that the operator lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnService {
    /// The service, in the form of a profile's entry.
    pub service: ProfileService,
    /// Where it is listed.
    pub origin: Origin,
}

/// A copy of a credential that the operator lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCopy {
    /// Its name, where it has one of its own.
    pub name: Option<CredentialName>,
    /// The name of its original.
    pub of: CredentialName,
    /// Its location. The path of a kubeconfig may have `*` for whole names.
    pub location: Location,
    /// Where it is listed.
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct CopyFragment {
    name: Option<CredentialName>,
    of: Option<CredentialName>,
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
    kubeconfig: Option<AbsolutePath>,
    bundle: Option<AbsolutePath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct AuthorityFragment {
    name: Option<AuthorityName>,
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct CredentialFragment {
    name: Option<CredentialName>,
    #[serde(rename = "ca")]
    authority: Option<AuthorityName>,
    #[serde(default)]
    optional: bool,
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
    kubeconfig: Option<AbsolutePath>,
    user: Option<String>,
    bundle: Option<AbsolutePath>,
    trial: Option<Trial>,
}

impl OwnAuthority {
    pub(super) fn new(
        entry: Spanned<AuthorityFragment>,
        source: ConfigSource<'_>,
    ) -> Result<Self, SettingsError> {
        let origin = source.origin(&entry.span());
        let AuthorityFragment { name, certificate, key } = entry.into_inner();
        let entry_name = name.as_ref().map(ToString::to_string);
        let wrong = |missing| {
            wrong("ca", entry_name.clone(), origin.clone(), EntryProblem::Missing(missing))
        };
        Ok(Self {
            name: name.ok_or_else(|| wrong("name"))?,
            certificate: certificate.ok_or_else(|| wrong("certificate"))?,
            key: key.ok_or_else(|| wrong("key"))?,
            origin,
        })
    }
}

impl OwnCredential {
    pub(super) fn new(
        entry: Spanned<CredentialFragment>,
        source: ConfigSource<'_>,
    ) -> Result<Self, SettingsError> {
        let origin = source.origin(&entry.span());
        let CredentialFragment {
            name,
            authority,
            optional,
            certificate,
            key,
            kubeconfig,
            user,
            bundle,
            trial,
        } = entry.into_inner();
        let entry_name = name.as_ref().map(ToString::to_string);
        let wrong = |problem| wrong("credential", entry_name.clone(), origin.clone(), problem);
        let location = match (location(certificate, key, kubeconfig, bundle).map_err(wrong)?, user)
        {
            (location, None) => location,
            (Location::Kubeconfig(file), Some(user)) => Location::KubeconfigUser { file, user },
            (_, Some(_)) => return Err(wrong(EntryProblem::Missing("kubeconfig, for user"))),
        };
        let name = name.ok_or_else(|| wrong(EntryProblem::Missing("name")))?;
        match (&trial, &location) {
            (
                Some(Trial { service: Some(_), .. }),
                Location::Kubeconfig(_) | Location::KubeconfigUser { .. },
            ) => {
                return Err(wrong(EntryProblem::NotWith {
                    key: "a service in trial",
                    other: "kubeconfig, which names its own server",
                }));
            }
            (Some(Trial { service: None, .. }), Location::Pair { .. } | Location::Bundle(_)) => {
                return Err(wrong(EntryProblem::Missing("a service in trial")));
            }
            _ => {}
        }
        Ok(Self { name, authority, optional, location, trial, origin })
    }
}

impl OwnService {
    pub(super) fn new(
        entry: Spanned<ServiceFragment>,
        source: ConfigSource<'_>,
    ) -> Result<Self, SettingsError> {
        let origin = source.origin(&entry.span());
        let entry = entry.into_inner();
        let wrong = |name, problem| wrong("service", name, origin.clone(), problem);
        let service = service(entry, &wrong)?;
        if service.uses.is_empty() {
            return Err(wrong(Some(service.name.to_string()), EntryProblem::Missing("uses")));
        }
        Ok(Self { service, origin })
    }
}

impl OwnCopy {
    pub(super) fn new(
        entry: Spanned<CopyFragment>,
        source: ConfigSource<'_>,
    ) -> Result<Self, SettingsError> {
        let origin = source.origin(&entry.span());
        let CopyFragment { name, of, certificate, key, kubeconfig, bundle } = entry.into_inner();
        let entry_name = name.as_ref().map(ToString::to_string);
        let wrong = |problem| wrong("copy", entry_name.clone(), origin.clone(), problem);
        let location = location(certificate, key, kubeconfig, bundle).map_err(wrong)?;
        let copy = Self {
            name,
            of: of.ok_or_else(|| wrong(EntryProblem::Missing("of")))?,
            location,
            origin: origin.clone(),
        };
        if copy.means_several() && !matches!(copy.location, Location::Kubeconfig(_)) {
            return Err(wrong(EntryProblem::Star));
        }
        Ok(copy)
    }

    /// Whether its path has `*` for a name.
    #[must_use]
    pub fn means_several(&self) -> bool {
        self.location.files().any(|file| file.as_path().iter().any(|name| name == "*"))
    }
}

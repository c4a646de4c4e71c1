//! A profile as TOML: what may stand in the file, and what it becomes.

use serde::Deserialize;
use toml::Spanned;

use super::service::{ServiceFragment, service};
use super::{
    AuthorityFlags, CredentialFlags, FlagNames, KeyFlags, NameFlags, Profile, ProfileAuthority,
    ProfileCredential, ServedAt, Trial,
};
use crate::model::{AbsolutePath, AuthorityName, CredentialName, Renewal};
use crate::settings::ProfileName;
use crate::settings::entries::{location, wrong};
use crate::settings::error::{EntryProblem, SettingsError};
use crate::settings::source::{Origin, Source};

/// The format of profiles that this program reads.
const FORMAT: u32 = 1;

#[derive(Deserialize)]
struct Head {
    format: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFragment {
    #[serde(rename = "format")]
    _format: u32,
    name: ProfileName,
    #[serde(default)]
    authority: Vec<Spanned<AuthorityFragment>>,
    #[serde(default)]
    credential: Vec<Spanned<CredentialFragment>>,
    #[serde(default)]
    service: Vec<Spanned<ServiceFragment>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct AuthorityFragment {
    name: Option<AuthorityName>,
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
    #[serde(default)]
    root: bool,
    #[serde(default)]
    flags: Vec<AuthorityFlags>,
    key_flags: Option<KeyFlags>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct CredentialFragment {
    name: Option<CredentialName>,
    kubeadm_name: Option<CredentialName>,
    authority: Option<AuthorityName>,
    renewal: Option<Renewal>,
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
    kubeconfig: Option<AbsolutePath>,
    bundle: Option<AbsolutePath>,
    otherwise: Option<LocationFragment>,
    flags: Option<CredentialFlags>,
    beside: Option<CredentialName>,
    referenced_by: Option<AbsolutePath>,
    trial: Option<Trial>,
    names: Option<NameFlags>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct LocationFragment {
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
    kubeconfig: Option<AbsolutePath>,
    bundle: Option<AbsolutePath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of flags")]
pub(super) struct CredentialFlagsFragment {
    pod: String,
    certificate: Option<String>,
    key: Option<String>,
    kubeconfig: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct ServedAtFragment {
    hosts: Option<Vec<String>>,
    port: Option<String>,
    default_port: Option<u16>,
    urls: Option<String>,
    address: Option<String>,
}

/// Reads each entry by itself; whether they fit together is looked at by the caller, who is given
/// their places for it.
pub(super) fn profile(source: Source<'_>) -> Result<(Profile, Origins), SettingsError> {
    check_format(source)?;
    let fragment: ProfileFragment = source.parse()?;
    let mut origins = Origins::default();
    let profile = Profile {
        name: fragment.name,
        authorities: collect(fragment.authority, source, &mut origins.authorities, authority)?,
        credentials: collect(fragment.credential, source, &mut origins.credentials, credential)?,
        services: collect(fragment.service, source, &mut origins.services, service)?,
    };
    Ok((profile, origins))
}

/// Where the entries of each table begin.
#[derive(Default)]
pub(super) struct Origins {
    pub authorities: Vec<Origin>,
    pub credentials: Vec<Origin>,
    pub services: Vec<Origin>,
}

/// A newer format may hold anything, so this is looked at before everything else.
fn check_format(source: Source<'_>) -> Result<(), SettingsError> {
    let Head { format } = source.parse()?;
    let found = *format.get_ref();
    let unknown = || SettingsError::UnknownFormat {
        origin: source.origin(&format.span()),
        found,
        known: FORMAT,
    };
    if found == FORMAT { Ok(()) } else { Err(unknown()) }
}

pub(in crate::settings) type Wrong<'a> = &'a dyn Fn(Option<String>, EntryProblem) -> SettingsError;

fn collect<F: TableName, T>(
    entries: Vec<Spanned<F>>,
    source: Source<'_>,
    origins: &mut Vec<Origin>,
    read: fn(F, Wrong<'_>) -> Result<T, SettingsError>,
) -> Result<Vec<T>, SettingsError> {
    let mut all = Vec::new();
    for entry in entries {
        let origin = source.origin(&entry.span());
        all.push(read(entry.into_inner(), &|name, problem| {
            wrong(F::TABLE, name, origin.clone(), problem)
        })?);
        origins.push(origin);
    }
    Ok(all)
}

trait TableName {
    const TABLE: &'static str;
}

impl TableName for AuthorityFragment {
    const TABLE: &'static str = "authority";
}

impl TableName for CredentialFragment {
    const TABLE: &'static str = "credential";
}

impl TableName for ServiceFragment {
    const TABLE: &'static str = "service";
}

fn authority(
    entry: AuthorityFragment,
    wrong: Wrong<'_>,
) -> Result<ProfileAuthority, SettingsError> {
    let told = entry.name.as_ref().map(ToString::to_string);
    let missing = |key| wrong(told.clone(), EntryProblem::Missing(key));
    Ok(ProfileAuthority {
        name: entry.name.ok_or_else(|| missing("name"))?,
        certificate: entry.certificate.ok_or_else(|| missing("certificate"))?,
        key: entry.key.ok_or_else(|| missing("key"))?,
        root: entry.root,
        flags: entry.flags,
        key_flags: entry.key_flags,
    })
}

fn credential(
    entry: CredentialFragment,
    wrong: Wrong<'_>,
) -> Result<ProfileCredential, SettingsError> {
    let told = entry.name.as_ref().map(ToString::to_string);
    let wrong = |problem| wrong(told.clone(), problem);
    let otherwise = entry
        .otherwise
        .map(|other| location(other.certificate, other.key, other.kubeconfig, other.bundle));
    Ok(ProfileCredential {
        name: entry.name.ok_or_else(|| wrong(EntryProblem::Missing("name")))?,
        kubeadm_name: entry.kubeadm_name,
        authority: entry.authority,
        renewal: entry.renewal.unwrap_or(Renewal::Ours),
        location: location(entry.certificate, entry.key, entry.kubeconfig, entry.bundle)
            .map_err(wrong)?,
        otherwise: otherwise.transpose().map_err(wrong)?,
        flags: entry.flags,
        beside: entry.beside,
        referenced_by: entry.referenced_by,
        trial: entry.trial,
        names: entry.names,
    })
}

impl TryFrom<CredentialFlagsFragment> for CredentialFlags {
    type Error = &'static str;

    fn try_from(flags: CredentialFlagsFragment) -> Result<Self, Self::Error> {
        let names = match (flags.certificate, flags.key, flags.kubeconfig) {
            (Some(certificate), Some(key), None) => FlagNames::Pair { certificate, key },
            (None, None, Some(kubeconfig)) => FlagNames::Kubeconfig(kubeconfig),
            _ => {
                return Err(
                    "expected the flags for certificate and key, or the one for kubeconfig",
                );
            }
        };
        Ok(Self { pod: flags.pod, names })
    }
}

impl TryFrom<ServedAtFragment> for ServedAt {
    type Error = &'static str;

    fn try_from(place: ServedAtFragment) -> Result<Self, Self::Error> {
        match place {
            ServedAtFragment {
                hosts: Some(hosts),
                port: Some(port),
                default_port: Some(default_port),
                urls: None,
                address: None,
            } => Ok(Self::Flags { hosts, port, default_port }),
            ServedAtFragment {
                hosts: None,
                port: None,
                default_port: None,
                urls: Some(flag),
                address: None,
            } => Ok(Self::Urls(flag)),
            ServedAtFragment {
                hosts: None,
                port: None,
                default_port: None,
                urls: None,
                address: Some(address),
            } => {
                if is_address(&address) {
                    Ok(Self::Address(address))
                } else {
                    Err("expected address to be HOST:PORT, such as 127.0.0.1:8443")
                }
            }
            _ => Err("expected hosts, port and default_port, or urls, or address"),
        }
    }
}

/// A name, an address, or an address of IPv6 in brackets; then a port.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |host: &str| {
        !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host =
        in_brackets.map_or_else(|| plain(host), |host| host.parse::<std::net::Ipv6Addr>().is_ok());
    host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

//! A profile as TOML: what may stand in the file, and what it becomes.

use serde::Deserialize;
use toml::Spanned;

use super::parts::{
    AuthorityFlags, CredentialFlags, KeyFlags, NameFlags, Profile, ProfileAuthority,
    ProfileCredential, ProfileServing, ProtectedFile, Trial,
};
use super::service::{ServiceFragment, service};
use super::template::ProfileTemplate;
use crate::model::{AbsolutePath, AuthorityName, CredentialName, Renewal};
use crate::settings::ProfileName;
use crate::settings::error::{EntryProblem, SettingsError};
use crate::settings::fragment::{Wrong, location, wrong};
use crate::settings::origin::Origin;
use crate::settings::source::ConfigSource;

/// The format of profiles that this program reads.
const FORMAT: u32 = 1;

#[derive(Deserialize)]
struct Head {
    format: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFragment {
    format: u32,
    name: ProfileName,
    #[serde(default, rename = "ca")]
    authority: Vec<Spanned<AuthorityFragment>>,
    #[serde(default)]
    credential: Vec<Spanned<CredentialFragment>>,
    #[serde(default)]
    service: Vec<Spanned<ServiceFragment>>,
    #[serde(default)]
    serving: Vec<Spanned<ProfileServing>>,
    #[serde(default)]
    protected: Vec<ProtectedFile>,
    #[serde(default)]
    elsewhere: Vec<CredentialName>,
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
    clients_may: Option<String>,
    #[serde(default)]
    key_elsewhere: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct CredentialFragment {
    name: Option<CredentialName>,
    kubeadm_name: Option<CredentialName>,
    #[serde(rename = "ca")]
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
    #[serde(default)]
    subjects: Vec<String>,
    template: Option<ProfileTemplate>,
    #[serde(default)]
    if_present: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct LocationFragment {
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
    kubeconfig: Option<AbsolutePath>,
    bundle: Option<AbsolutePath>,
}

/// Reads each entry by itself; whether they fit together is looked at by the caller, who is given
/// their places for it.
pub(super) fn profile(source: ConfigSource<'_>) -> Result<(Profile, Origins), SettingsError> {
    let parsed: Result<ProfileFragment, _> = source.parse();
    // A newer format may hold anything, so its error comes before every other.
    if !parsed.as_ref().is_ok_and(|fragment| fragment.format == FORMAT) {
        check_format(source)?;
    }
    let fragment = parsed?;
    let mut origins = Origins::default();
    let profile = Profile {
        name: fragment.name,
        authorities: collect(fragment.authority, source, &mut origins.authorities, authority)?,
        credentials: collect(fragment.credential, source, &mut origins.credentials, credential)?,
        services: collect(fragment.service, source, &mut origins.services, service)?,
        serving: collect(fragment.serving, source, &mut origins.serving, |one, _| Ok(one))?,
        protected: fragment.protected,
        elsewhere: fragment.elsewhere,
    };
    Ok((profile, origins))
}

/// Where the entries of each table begin.
#[derive(Default)]
pub(super) struct Origins {
    pub authorities: Vec<Origin>,
    pub credentials: Vec<Origin>,
    pub services: Vec<Origin>,
    pub serving: Vec<Origin>,
}

fn check_format(source: ConfigSource<'_>) -> Result<(), SettingsError> {
    let Head { format } = source.parse()?;
    let found = *format.get_ref();
    let unknown = || SettingsError::UnknownFormat {
        origin: source.origin(&format.span()),
        found,
        known: FORMAT,
    };
    if found == FORMAT { Ok(()) } else { Err(unknown()) }
}

fn collect<F: TableName, T>(
    entries: Vec<Spanned<F>>,
    source: ConfigSource<'_>,
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
    const TABLE: &'static str = "ca";
}

impl TableName for CredentialFragment {
    const TABLE: &'static str = "credential";
}

impl TableName for ProfileServing {
    const TABLE: &'static str = "serving";
}

impl TableName for ServiceFragment {
    const TABLE: &'static str = "service";
}

fn authority(
    entry: AuthorityFragment,
    wrong: Wrong<'_>,
) -> Result<ProfileAuthority, SettingsError> {
    let entry_name = entry.name.as_ref().map(ToString::to_string);
    let missing = |key| wrong(entry_name.clone(), EntryProblem::Missing(key));
    Ok(ProfileAuthority {
        name: entry.name.ok_or_else(|| missing("name"))?,
        certificate: entry.certificate.ok_or_else(|| missing("certificate"))?,
        key: entry.key.ok_or_else(|| missing("key"))?,
        root: entry.root,
        flags: entry.flags,
        key_flags: entry.key_flags,
        clients_may: entry.clients_may,
        key_elsewhere: entry.key_elsewhere,
    })
}

fn credential(
    entry: CredentialFragment,
    wrong: Wrong<'_>,
) -> Result<ProfileCredential, SettingsError> {
    let entry_name = entry.name.as_ref().map(ToString::to_string);
    let wrong = |problem| wrong(entry_name.clone(), problem);
    let otherwise = entry
        .otherwise
        .map(|other| location(other.certificate, other.key, other.kubeconfig, other.bundle));
    if entry.template.is_some() && entry.authority.is_none() {
        return Err(wrong(EntryProblem::Missing("ca")));
    }
    let template = entry.template.map(|template| template.completed(&entry.subjects));
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
        subjects: entry.subjects,
        template: template.transpose().map_err(wrong)?,
        if_present: entry.if_present,
    })
}

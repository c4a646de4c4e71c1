//! The profile: the authorities, credentials and services of a kind of node, as data.
//!
//! What stands in a profile are the usual paths and the names of the manifest flags that give the
//! real ones; finding the real ones on a node is the catalog's work.

mod read;
pub(in crate::settings) mod service;

use std::path::Path;

use serde::Deserialize;

use self::read::Origins;
use super::entries::{unique, wrong};
use super::error::{EntryProblem, SettingsError};
use super::source::Source;
use super::{ProfileName, Settings};
use crate::model::{
    AbsolutePath, AuthorityName, CredentialName, Essential, InvalidPath, Location, Renewal,
    ServiceKind, ServiceName, Takes,
};

/// The profiles that come with this program.
const KUBEADM: &str = include_str!("../../config/profiles/kubeadm.toml");

/// The authorities, credentials and services of a kind of node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// The authorities.
    pub authorities: Vec<ProfileAuthority>,
    /// The credentials.
    pub credentials: Vec<ProfileCredential>,
    /// The services, in the order in which they are restarted.
    pub services: Vec<ProfileService>,
}

/// An authority and how its real place is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileAuthority {
    /// Its name.
    pub name: AuthorityName,
    /// The usual certificate.
    pub certificate: AbsolutePath,
    /// The usual key.
    pub key: AbsolutePath,
    /// Whether it is the root of the whole cluster.
    pub root: bool,
    /// The flags that name the real files; the first that is there wins.
    pub flags: Vec<AuthorityFlags>,
    /// The flags that name the real key, where the certificate has none beside it.
    pub key_flags: Option<KeyFlags>,
}

/// The flags of a static pod that name an authority's files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of flags")]
pub struct AuthorityFlags {
    /// The pod.
    pub pod: String,
    /// The flag that names the certificate.
    pub certificate: String,
    /// The flag that names the key. Without one, the key lies beside the certificate.
    pub key: Option<String>,
    /// Whether the certificate's flag may name a bundle made for verifying. Then a file of another
    /// name than the authority's usual one counts only where there is none of the usual name,
    /// neither beside it nor at the usual place.
    #[serde(default)]
    pub bundle: bool,
}

/// The flags of a static pod that name a signing certificate and its key. They never say where an
/// authority is: the key counts only for an authority whose certificate is that file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of flags")]
pub struct KeyFlags {
    /// The pod.
    pub pod: String,
    /// The flag that names the certificate.
    pub certificate: String,
    /// The flag that names the key.
    pub key: String,
}

/// A credential and how its real place is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileCredential {
    /// Its name.
    pub name: CredentialName,
    /// kubeadm's name where that differs.
    pub kubeadm_name: Option<CredentialName>,
    /// Who signs it.
    pub authority: Option<AuthorityName>,
    /// Who renews it.
    pub renewal: Renewal,
    /// Where it usually lives.
    pub location: Location,
    /// Where it lives when nothing is at the usual place.
    pub otherwise: Option<Location>,
    /// The flags that name the real files, and thereby say that the node needs it.
    pub flags: Option<CredentialFlags>,
    /// The credential whose folder it shares: when that one lies in another folder than usual, this
    /// one does.
    pub beside: Option<CredentialName>,
    /// The kubeconfig whose user may name the real file.
    pub referenced_by: Option<AbsolutePath>,
    /// Where a new one is tried before it takes the place of the old one.
    pub trial: Option<Trial>,
    /// The flags of the same pod that say at which names and addresses it is served.
    pub names: Option<NameFlags>,
}

/// The flags of a static pod that say for which names and addresses a certificate has to be valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of lists of flags")]
pub struct NameFlags {
    /// Flags with an address each.
    pub addresses: Vec<String>,
    /// Flags with a list of URLs each, of which those with `https` count.
    pub urls: Vec<String>,
    /// Flags with a list of networks each: the first address of the first of them counts.
    pub first_of: Vec<String>,
    /// Names that every client in the cluster may use.
    pub always: Vec<String>,
    /// Flags with an URL each, whose host counts where it is one of `always` with a domain behind
    /// it.
    pub in_domain_of: Vec<String>,
    /// Kubeconfigs whose server it is, as far as they trust its authority.
    pub servers: Vec<CredentialName>,
    /// The credential that says which node this is: its name counts too.
    pub node_of: Option<CredentialName>,
}

/// Where a new client certificate is tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a path, and perhaps a service")]
pub struct Trial {
    /// The service of this node that looks at it; none for a kubeconfig, which names its own
    /// server.
    pub service: Option<ServiceName>,
    /// The path of a request that has to be authenticated.
    pub path: String,
    /// For whom it is asked, where the certificate is one that vouches for others.
    pub user: Option<String>,
}

/// The flags of a static pod that name a credential's files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "read::CredentialFlagsFragment")]
pub struct CredentialFlags {
    /// The pod.
    pub pod: String,
    /// The flags.
    pub names: FlagNames,
}

/// The names of the flags for each kind of location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagNames {
    /// For a pair of files.
    Pair {
        /// The flag that names the certificate.
        certificate: String,
        /// The flag that names the key.
        key: String,
    },
    /// For a kubeconfig.
    Kubeconfig(String),
}

/// A service and how its real address is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileService {
    /// Its name.
    pub name: ServiceName,
    /// What kind of thing it is; a static pod without its manifest.
    pub kind: ServiceKind,
    /// The usual URL of its health; a probe in the manifest says it better.
    pub health: Option<String>,
    /// Whether the others live on it: it is stopped only where its like on other nodes carry on,
    /// and what comes after it can do nothing without it.
    pub essential: Option<Essential>,
    /// The credentials it uses.
    pub uses: Vec<ProfileUse>,
    /// Whether certificates that it keeps in memory end a year after its start.
    pub ages: bool,
}

/// One credential that a service uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct ProfileUse {
    /// The credential.
    pub credential: CredentialName,
    /// How the service takes a new one.
    pub takes: Takes,
    /// Where the service serves TLS with it.
    pub served_at: Option<ServedAt>,
    /// The remote port of the connections that the service opens with it.
    pub to_port: Option<u16>,
}

/// Where a service serves TLS with a credential.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "read::ServedAtFragment")]
pub enum ServedAt {
    /// As flags for the host and for the port say.
    Flags {
        /// The flags that may name the address; the first that names one address and not all of
        /// them wins.
        hosts: Vec<String>,
        /// The flag that names the port.
        port: String,
        /// The port when the flag is not there.
        default_port: u16,
    },
    /// At the first `https` URL of a flag with a list of URLs.
    Urls(String),
    /// Always there, `host:port`.
    Address(String),
}

impl Profile {
    /// The profile that the settings name: the text of [`Settings::profile_file`] when there is
    /// such a file, else the one in this program.
    ///
    /// # Errors [`SettingsError`], when there is no such profile, or for the first thing that is
    /// wrong in it.
    pub fn load(settings: &Settings, own: Option<&str>) -> Result<Self, SettingsError> {
        let file = settings.paths.profiles.as_path().join(format!("{}.toml", *settings.profile));
        match (own, settings.profile.as_str()) {
            (Some(text), _) => Self::parse(&file, text),
            (None, "kubeadm") => Self::kubeadm(),
            (None, _) => Err(SettingsError::UnknownProfile {
                stated: settings.profile.stated(),
                known: "kubeadm",
                place: file,
            }),
        }
    }

    /// The profile of a node made by kubeadm.
    ///
    /// # Errors
    /// None that the tests of this program let pass: the text is part of it.
    pub fn kubeadm() -> Result<Self, SettingsError> {
        Self::parse(Path::new("the built-in profile kubeadm.toml"), KUBEADM)
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// [`SettingsError`] for the first thing that is wrong, with file and line.
    pub fn parse(file: &Path, text: &str) -> Result<Self, SettingsError> {
        let (profile, origins) = read::profile(Source { file, text })?;
        profile.check(&origins)?;
        Ok(profile)
    }

    /// Names are given once, and every reference leads somewhere.
    fn check(&self, origins: &Origins) -> Result<(), SettingsError> {
        let authorities: Vec<&str> =
            self.authorities.iter().map(|entry| entry.name.as_str()).collect();
        let credentials: Vec<&str> =
            self.credentials.iter().map(|entry| entry.name.as_str()).collect();
        let services: Vec<&str> = self.services.iter().map(|entry| entry.name.as_str()).collect();
        unique("authority", authorities.iter().copied().zip(&origins.authorities))?;
        unique("credential", credentials.iter().copied().zip(&origins.credentials))?;
        unique("service", services.iter().copied().zip(&origins.services))?;
        for (entry, origin) in self.credentials.iter().zip(&origins.credentials) {
            if entry.names.is_some() && entry.flags.is_none() {
                return Err(wrong(
                    "credential",
                    Some(entry.name.to_string()),
                    origin.clone(),
                    EntryProblem::Missing("flags"),
                ));
            }
            let authority =
                entry.authority.iter().map(|name| listed("authority", name.as_str(), &authorities));
            let beside =
                entry.beside.iter().map(|name| listed("beside", name.as_str(), &credentials));
            let trial = entry.trial.iter().filter_map(|trial| trial.service.as_ref());
            let trial = trial.map(|name| listed("trial", name.as_str(), &services));
            let all = authority.chain(beside).chain(trial).collect::<Result<(), _>>();
            all.map_err(|problem| {
                wrong("credential", Some(entry.name.to_string()), origin.clone(), problem)
            })?;
        }
        for (entry, origin) in self.services.iter().zip(&origins.services) {
            let all = entry
                .uses
                .iter()
                .try_for_each(|one| listed("uses", one.credential.as_str(), &credentials));
            all.map_err(|problem| {
                wrong("service", Some(entry.name.to_string()), origin.clone(), problem)
            })?;
        }
        Ok(())
    }
}

fn listed(key: &'static str, name: &str, names: &[&str]) -> Result<(), EntryProblem> {
    if names.contains(&name) {
        Ok(())
    } else {
        Err(EntryProblem::Unknown { key, name: name.to_owned() })
    }
}

impl Settings {
    /// Where a profile lies that takes the place of the one in this program, or adds another.
    ///
    /// # Errors
    /// None in practice: a folder's path and a profile's name make a path.
    pub fn profile_file(&self) -> Result<AbsolutePath, InvalidPath> {
        self.paths.profiles.join(format!("{}.toml", *self.profile))
    }
}

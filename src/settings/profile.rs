//! The profile: the authorities, credentials and services of a kind of node, as data.
//!
//! A profile has the usual paths, and the names of the manifest flags that give the real ones. The
//! catalog finds the real ones on a node.

mod parts;
mod read;
pub(in crate::settings) mod service;
mod template;

use std::path::Path;

pub use self::parts::{
    AuthorityFlags, CredentialFlags, FileFlag, FlagNames, KeyFlags, NameFlags, Profile,
    ProfileAuthority, ProfileCredential, ProfileService, ProfileServing, ProfileTrust, ProfileUse,
    ProtectedFile, ServedAt, ServingFlags, Trial,
};
use self::read::Origins;
pub use self::template::{ProfileTemplate, VersionedSubject};
use super::Settings;
use super::error::{EntryProblem, SettingsError};
use super::fragment::{unique, wrong};
use super::source::ConfigSource;
use super::values::ProfileName;
use crate::model::{AbsolutePath, InvalidPath};

/// The profiles that come with this program.
const KUBEADM: &str = include_str!("../../config/profiles/kubeadm.toml");
const WORKER: &str = include_str!("../../config/profiles/worker.toml");

impl Profile {
    /// The profile of this name: the text of [`Settings::profile_file`] when there is such a file,
    /// else the one in this program.
    ///
    /// # Errors
    /// [`SettingsError`], when there is no such profile, or for the first thing that is
    /// wrong in it.
    pub fn load(
        settings: &Settings,
        name: &ProfileName,
        own: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let file = settings.paths.profiles.as_path().join(format!("{name}.toml"));
        match (own, name.as_str()) {
            (Some(text), _) => Self::parse(&file, text),
            (None, "kubeadm") => Self::kubeadm(),
            (None, "worker") => Self::worker(),
            (None, _) => Err(SettingsError::UnknownProfile {
                stated: settings.profile.stated(),
                known: "kubeadm and worker",
                place: file,
            }),
        }
    }

    /// The profile of a control-plane node made by kubeadm.
    ///
    /// # Errors
    /// None that the tests of this program let pass: the text is part of it.
    pub fn kubeadm() -> Result<Self, SettingsError> {
        Self::parse(Path::new("the built-in profile kubeadm.toml"), KUBEADM)
    }

    /// The profile of a worker node made by kubeadm.
    ///
    /// # Errors
    /// As [`Self::kubeadm`].
    pub fn worker() -> Result<Self, SettingsError> {
        Self::parse(Path::new("the built-in profile worker.toml"), WORKER)
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// [`SettingsError`] for the first thing that is wrong, with file and line.
    pub fn parse(file: &Path, text: &str) -> Result<Self, SettingsError> {
        let (profile, origins) = read::profile(ConfigSource { file, text })?;
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
        unique("ca", authorities.iter().copied().zip(&origins.authorities))?;
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
            let siblings = entry.template.iter().flat_map(|template| &template.servers);
            let siblings = siblings.map(|name| listed("template", name.as_str(), &credentials));
            let authority =
                entry.authority.iter().map(|name| listed("ca", name.as_str(), &authorities));
            let beside =
                entry.beside.iter().map(|name| listed("beside", name.as_str(), &credentials));
            let trial = entry.trial.iter().filter_map(|trial| trial.service.as_ref());
            let trial = trial.map(|name| listed("trial", name.as_str(), &services));
            let all =
                authority.chain(beside).chain(trial).chain(siblings).collect::<Result<(), _>>();
            all.map_err(|problem| {
                wrong("credential", Some(entry.name.to_string()), origin.clone(), problem)
            })?;
        }
        for (entry, origin) in self.serving.iter().zip(&origins.serving) {
            listed("service", entry.service.as_str(), &services).map_err(|problem| {
                wrong("serving", Some(entry.name.to_string()), origin.clone(), problem)
            })?;
        }
        for (entry, origin) in self.services.iter().zip(&origins.services) {
            let all = entry.uses.iter().try_for_each(|one| {
                listed("uses", one.credential.as_str(), &credentials)?;
                let kubeconfig = one.first_request.as_ref();
                kubeconfig
                    .map_or(Ok(()), |name| listed("first_request", name.as_str(), &credentials))
            });
            let mut trusted = entry.trusts.iter().filter_map(ProfileTrust::credential);
            let all = all.and_then(|()| {
                trusted.try_for_each(|name| listed("trusts", name.as_str(), &credentials))
            });
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
    /// None in practice: a directory's path and a profile's name make a path.
    pub fn profile_file(&self, name: &ProfileName) -> Result<AbsolutePath, InvalidPath> {
        self.paths.profiles.join(format!("{name}.toml"))
    }
}

//! The profile of a node: the configured one, or else the one that its files show. A worker is
//! recognised by what it lacks, so that all that may be of a control-plane node speaks against it.

use super::catalog::{ManifestFile, stem};
use crate::credentials::ObservedFiles;
use crate::formats::manifest::Pod;
use crate::model::{AbsolutePath, AuthorityName, CredentialName};
use crate::settings::{Profile, ProfileCredential, ProfileName, Settings};
use crate::state::KnownCertificates;

/// The profile in use.
#[derive(Debug)]
pub(super) struct ChosenProfile {
    pub profile: Profile,
    /// Why it was chosen; `None` where the configuration names it.
    pub reason: Option<String>,
    /// What an operator should know about the choice.
    pub note: Option<String>,
}

/// The manifests of the node.
#[derive(Clone, Copy)]
pub(super) struct FoundManifests<'m> {
    /// Those that were read.
    pub read: &'m [ManifestFile],
    /// The names of files that can't be read.
    pub unread: &'m [(String, String)],
    /// Whether the directory can't be read.
    pub unknown: bool,
}

/// What shows that a node is one of the control plane.
#[derive(Debug, PartialEq, Eq)]
enum ControlPlane {
    /// It is there now.
    Found(String),
    /// It was there earlier.
    Remembered(String),
}

/// The profiles among which the choice is.
pub(super) enum Candidates {
    /// The one that the configuration names.
    Configured(Profile),
    /// Those of both kinds of node.
    Both {
        /// A control-plane node's.
        kubeadm: Profile,
        /// A worker's.
        worker: Profile,
    },
}

impl Candidates {
    /// Loads the profiles, each by its name.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn load<E>(
        settings: &Settings,
        load: impl Fn(&ProfileName) -> Result<Profile, E>,
    ) -> Result<Self, E> {
        Ok(if *settings.profile == ProfileName::auto() {
            Self::Both {
                kubeadm: load(&ProfileName::kubeadm())?,
                worker: load(&ProfileName::worker())?,
            }
        } else {
            Self::Configured(load(&settings.profile)?)
        })
    }

    /// Chooses the profile.
    pub fn choose(
        self,
        root: &ObservedFiles,
        settings: &Settings,
        manifests: FoundManifests<'_>,
    ) -> ChosenProfile {
        let (kubeadm, worker) = match self {
            Self::Configured(profile) => {
                return ChosenProfile { profile, reason: None, note: None };
            }
            Self::Both { kubeadm, worker } => (kubeadm, worker),
        };
        let (profile, reason, note) = match control_plane(
            root, settings, manifests, &kubeadm, &worker,
        ) {
            None => (worker, NOTHING_FOUND.to_owned(), None),
            Some(ControlPlane::Found(reason)) => (kubeadm, reason, None),
            Some(ControlPlane::Remembered(reason)) => {
                let note = format!(
                    "nothing here shows a control-plane node, but {reason}, so it still counts as \
                     one; where it is a worker now, set profile = \"worker\" in the configuration"
                );
                (kubeadm, reason, Some(note))
            }
        };
        ChosenProfile { profile, reason: Some(reason), note }
    }
}

const NOTHING_FOUND: &str = "no static pod manifest, CA key or certificate of a control-plane \
    node is here, and none is remembered";

/// The first sign of a control-plane node, by its profile. That of a worker has what both have.
fn control_plane(
    root: &ObservedFiles,
    settings: &Settings,
    manifests: FoundManifests<'_>,
    kubeadm: &Profile,
    worker: &Profile,
) -> Option<ControlPlane> {
    let found = of_manifests(&settings.paths.manifests, manifests, kubeadm)
        .or_else(|| of_files(root, kubeadm))
        .or_else(|| of_configuration(settings, kubeadm, worker));
    found
        .map(ControlPlane::Found)
        .or_else(|| remembered(root, settings, kubeadm).map(ControlPlane::Remembered))
}

fn of_manifests(
    dir: &AbsolutePath,
    manifests: FoundManifests<'_>,
    kubeadm: &Profile,
) -> Option<String> {
    let pods: Vec<_> = kubeadm.services.iter().filter_map(|service| service.kind.pod()).collect();
    let is_named = |file: &str| !file.starts_with('.') && pods.contains(&stem(file));
    let is_of_one = |(file, pod): &&ManifestFile| {
        let is_alike = |pod: &Pod| pods.iter().any(|component| pod.likeness(component).is_some());
        is_named(file) || pod.as_ref().is_ok_and(is_alike)
    };
    let read = manifests.read.iter().find(is_of_one).map(|(file, _)| file);
    let unread = || manifests.unread.iter().map(|(file, _)| file).find(|file| is_named(file));
    match read.or_else(unread) {
        Some(file) => Some(format!("{dir}/{file} is the manifest of a control-plane pod")),
        None => manifests.unknown.then(|| format!("{dir} can't be read")),
    }
}

/// The keys of CAs, and the credentials that static pods of the control plane use.
fn of_files(root: &ObservedFiles, kubeadm: &Profile) -> Option<String> {
    let keys = kubeadm.authorities.iter().map(|authority| &authority.key);
    let used = kubeadm.credentials.iter().filter(|one| is_of_pod(one));
    let mut files = keys.chain(used.flat_map(|one| one.location.files()));
    files.find(|file| root.exists(file)).map(|file| format!("{file} exists"))
}

/// Only the profile of control-plane nodes has what the configuration refers to.
fn of_configuration(settings: &Settings, kubeadm: &Profile, worker: &Profile) -> Option<String> {
    let mut authorities = settings.credentials.iter().filter_map(|own| own.authority.as_ref());
    let is_only_there = |name: &&AuthorityName| {
        kubeadm.authorities.iter().any(|one| one.name == **name)
            && !worker.authorities.iter().any(|one| one.name == **name)
            && !settings.authorities.iter().any(|one| one.name == **name)
    };
    let authority = authorities.find(is_only_there).map(|name| format!("the CA {name}"));
    let used = || {
        let uses = settings.services.iter().flat_map(|own| &own.service.uses);
        let mut names =
            uses.flat_map(|one| [&one.credential].into_iter().chain(&one.first_request));
        names
            .find(|name| {
                is_only_for_control_plane(name, kubeadm, worker)
                    && !settings.credentials.iter().any(|own| own.name == **name)
            })
            .map(|name| format!("the credential {name}"))
    };
    let name = authority.or_else(used)?;
    Some(format!("the configuration refers to {name} of a control-plane node"))
}

/// Whether only control-plane nodes have a credential of this name.
fn is_only_for_control_plane(name: &CredentialName, kubeadm: &Profile, worker: &Profile) -> bool {
    let lists = |profile: &Profile| profile.credentials.iter().any(|one| one.name == *name);
    lists(kubeadm) && !lists(worker)
}

/// Lost files don't make a worker of a node.
fn remembered(root: &ObservedFiles, settings: &Settings, kubeadm: &Profile) -> Option<String> {
    let (known, problem) = KnownCertificates::read(root, &settings.paths.state);
    let mut used = kubeadm.credentials.iter().filter(|one| is_of_pod(one));
    let earlier = used.find(|one| known.knows(&one.name));
    problem.or_else(|| Some(format!("the node had the credential {} earlier", earlier?.name)))
}

fn is_of_pod(credential: &ProfileCredential) -> bool {
    credential.flags.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::catalog::parse_manifests;
    use crate::sys::Root;

    /// Chooses the profile of a node with these empty files, manifests and settings.
    fn chosen(files: &[&str], manifests: &[(&str, &str)], configuration: &str) -> ChosenProfile {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let settings = Settings::from_files(&[("main.toml", configuration)]).unwrap();
        let texts = manifests.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let read = parse_manifests(texts.collect());
        let found = FoundManifests { read: &read, unread: &[], unknown: false };
        let candidates = Candidates::load(&settings, |name| Profile::load(&settings, name, None));
        candidates.unwrap().choose(&ObservedFiles::of(&root), &settings, found)
    }

    fn name(chosen: &ChosenProfile) -> &str {
        chosen.profile.name.as_str()
    }

    const CA: &str = "etc/kubernetes/pki/ca.crt";
    const PROXY: &str =
        "kind: Pod\nmetadata: {name: proxy}\nspec: {containers: [{name: a, image: nginx}]}\n";
    const ETCD: &str =
        "kind: Pod\nmetadata: {name: db}\nspec: {containers: [{name: a, command: [etcd]}]}\n";

    #[test]
    fn node_without_anything_of_the_control_plane_is_a_worker() {
        for files in [&[][..], &[CA, "etc/kubernetes/kubelet.conf", "etc/kubernetes/admin.conf"]] {
            let chosen = chosen(files, &[("proxy.yaml", PROXY)], "");
            assert_eq!((name(&chosen), chosen.note.as_deref()), ("worker", None), "{files:?}");
            assert_eq!(chosen.reason.as_deref(), Some(NOTHING_FOUND));
        }
    }

    #[test]
    fn one_part_of_the_control_plane_is_enough() {
        for file in
            ["ca.key", "front-proxy-ca.key", "etcd/ca.key", "apiserver.key", "etcd/peer.crt"]
        {
            let file = format!("etc/kubernetes/pki/{file}");
            assert_eq!(name(&chosen(&[CA, &file], &[], "")), "kubeadm", "{file}");
        }
        for manifest in [("db.yaml", ETCD), ("etcd.yaml", "{"), ("kube-apiserver.json", "")] {
            assert_eq!(name(&chosen(&[CA], &[manifest], "")), "kubeadm", "{manifest:?}");
        }
        let uses = "[[service]]\nname = \"a\"\nunit = \"a.service\"\n\
            uses = [{ credential = \"apiserver\", takes = \"restart\" }]\n";
        assert_eq!(name(&chosen(&[CA], &[], uses)), "kubeadm");
    }

    #[test]
    fn manifests_that_can_not_be_read_make_no_worker() {
        let (dir, settings) = (tempfile::tempdir().unwrap(), Settings::default());
        let root = Root::open(dir.path()).unwrap();
        let choose = |unread: &[(String, String)], unknown| {
            let found = FoundManifests { read: &[], unread, unknown };
            let load = |name: &ProfileName| Profile::load(&settings, name, None);
            let candidates = Candidates::load(&settings, load).unwrap();
            let chosen = candidates.choose(&ObservedFiles::of(&root), &settings, found);
            name(&chosen).to_owned()
        };
        assert_eq!(choose(&[], true), "kubeadm");
        assert_eq!(choose(&[("etcd.yaml".to_owned(), "an error".to_owned())], false), "kubeadm");
        assert_eq!(choose(&[("proxy.yaml".to_owned(), "an error".to_owned())], false), "worker");
    }

    #[test]
    fn configuration_names_the_profile() {
        let key = "etc/kubernetes/pki/ca.key";
        for (files, profile) in [(&[key][..], "worker"), (&[], "kubeadm")] {
            let chosen = chosen(files, &[], &format!("profile = \"{profile}\""));
            assert_eq!((name(&chosen), chosen.reason.as_deref()), (profile, None));
        }
    }
}

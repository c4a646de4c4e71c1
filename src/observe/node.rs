//! A node's configuration, profile, manifests and kubelet.conf, read from disk and built into
//! settings and a catalog.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::catalog::{
    Catalog, CatalogError, CatalogInput, KubeconfigUsers, Note, Reference, parse_manifests,
};
use super::kubelet::{self, FoundSettings};
use super::profile::{Candidates, ChosenProfile, FoundManifests};
use super::services::runtime_socket;
use super::shared::is_same_file;
use crate::credentials::{LoadedAuthority, ObservedFiles, load, load_authority, referenced};
use crate::formats::kubeadm;
use crate::formats::kubeconfig::{self, ClientCertificate, PemSource};
use crate::formats::x509::certificates;
use crate::model::{
    AbsolutePath, AuthorityName, Credential, InvalidPath, Renewal, Signer, UnclearManifest,
};
use crate::settings::{Profile, ProfileName, Settings, SettingsError, Validity, drop_ins};
use crate::store::LARGEST_FILE;
use crate::sys::{FileContent, FileError, FileProblem, Root};

/// Where the configuration is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// `/etc/kubecertd/kubecertd.toml` below the root directory, if it is there.
    Usual,
    /// A file of the running system that has to be there.
    Given(PathBuf),
}

/// A node: its root directory, and the facts that are known before any credential is read.
#[derive(Debug)]
pub struct Node {
    /// The root directory.
    pub root: Root,
    /// The configuration.
    pub settings: Settings,
    /// The name of the profile in use.
    pub profile: ProfileName,
    /// Why that one is in use; `None` where the configuration names it.
    pub profile_reason: Option<String>,
    /// The catalog of the node.
    pub catalog: Catalog,
    /// How long a renewed certificate is valid, unless its authority ends earlier.
    pub validity: Duration,
    /// The installation that the node belongs to.
    pub platform: Platform,
    /// The socket of the container runtime.
    pub runtime: PathBuf,
    /// The manifests that were read.
    pub manifests: Vec<AbsolutePath>,
    /// The manifests of control-plane pods that do not say which certificates are used, each once.
    pub unclear: Vec<UnclearManifest>,
    /// Other notes for the operator about the catalog, each a sentence.
    pub notes: Vec<String>,
}

/// The kind of installation that a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Kubernetes as kubeadm makes it.
    Plain,
    /// StarlingX, which keeps copies of credentials and restarts services in ways of its own.
    StarlingX,
}

/// Why a node can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not text.
    #[error("{}: is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// A path can't be used.
    #[error("{}: {source}", .path.display())]
    Path {
        /// The path as given.
        path: PathBuf,
        /// The reason.
        source: InvalidPath,
    },
    /// The configuration or the profile is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An own entry is wrong.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// The usual configuration file, below the root directory.
pub const USUAL_CONFIG: &str = "/etc/kubecertd/kubecertd.toml";

impl Node {
    /// All that an operator should know about the catalog and the manifests, each a sentence.
    pub fn remarks(&self) -> impl Iterator<Item = &String> {
        self.unclear.iter().map(|manifest| &manifest.reason).chain(&self.notes)
    }

    /// Reads configuration, profile and manifests.
    ///
    /// # Errors
    /// When the configuration can't be read or is wrong. An error in a manifest is a note, never an
    /// error.
    pub fn open(root: Root, config: &Config) -> Result<Self, NodeError> {
        Self::open_observed(root, config).map(|(node, _)| node)
    }

    /// Does the same, and returns the observation that it has begun.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_observed(root: Root, config: &Config) -> Result<(Self, ObservedFiles), NodeError> {
        let seen = ObservedFiles::of(&root);
        let node = Self::observed(root, &seen, &config.read(&seen)?)?;
        Ok((node, seen))
    }

    /// Does the same with configuration files that were read already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_files(root: Root, files: &[ConfigFile]) -> Result<Self, NodeError> {
        let seen = ObservedFiles::of(&root);
        Self::observed(root, &seen, files)
    }

    fn observed(root: Root, seen: &ObservedFiles, files: &[ConfigFile]) -> Result<Self, NodeError> {
        let mut settings = Settings::from_files(files)?;
        let mut notes = Vec::new();
        let mut unread = Vec::new();
        let (profiles, manifests, kubelet) = thread::scope(|scope| {
            let profiles =
                scope.spawn(|| Candidates::load(&settings, |name| profile(seen, &settings, name)));
            let manifests = manifests(seen, &settings.paths.manifests, &mut notes, &mut unread);
            let (manifests, kubelet) = (manifests.map(parse_manifests), kubelet::settings(seen));
            (profiles.join().unwrap_or_else(|fault| resume_unwind(fault)), manifests, kubelet)
        });
        let unknown = manifests.is_none();
        let manifests = manifests.unwrap_or_default();
        let found = FoundManifests { read: &manifests, unread: &unread, unknown };
        let ChosenProfile { profile, reason, note } = profiles?.choose(seen, &settings, found);
        notes.extend(note);
        settings.copies.retain(|own| !profile.elsewhere.contains(&own.of));
        let references = references(seen, &profile);
        let FoundSettings { settings: kubelet, notes: kubelet_notes } = kubelet;
        notes.extend(kubelet_notes);
        let exists = |path: &AbsolutePath| seen.exists(path);
        let matching = |pattern: &AbsolutePath| seen.matching(pattern);
        let configuration = |path: &AbsolutePath| configuration(seen, path);
        let users = |kubeconfig: &AbsolutePath| users(seen, kubeconfig);
        let found = CatalogInput {
            manifests: &manifests,
            references: &references,
            kubelet: kubelet.as_ref(),
            configuration: &configuration,
            users: &users,
            exists: &exists,
            shares_ca: &|one, other| shares_ca(seen, one, other),
            same_file: &|one, other| is_same_file(seen, one, other),
            matching: &matching,
        };
        let mut catalog = Catalog::build(&settings, &profile, found)?;
        adopt_serving(seen, &mut catalog);
        let dir = &settings.paths.manifests;
        let (about, others): (Vec<_>, Vec<_>) =
            catalog.notes.iter().partition(|note| note.unclear_manifest().is_some());
        let mut unclear = unclear(dir, &about);
        for (name, reason) in unread {
            match dir.join(&name).ok().filter(|_| catalog.lacks_manifest_of(&profile, &name)) {
                Some(file) => unclear.push(UnclearManifest { file, reason }),
                None => notes.push(reason),
            }
        }
        notes.extend(others.iter().map(ToString::to_string));
        let platform = platform(&exists);
        let runtime = runtime_socket(seen, kubelet.as_ref());
        let (validity, note) = validity(seen, &settings);
        notes.extend(note);
        let manifests = manifests.iter().filter_map(|(name, _)| dir.join(name).ok()).collect();
        Ok(Self {
            root,
            settings,
            profile: profile.name,
            profile_reason: reason,
            catalog,
            validity,
            platform,
            runtime,
            manifests,
            unclear,
            notes,
        })
    }
}

/// How long a renewed certificate is valid, and what an operator should know about it.
fn validity(root: &Root, settings: &Settings) -> (Duration, Option<String>) {
    if let Validity::For(period) = *settings.renewal.validity {
        return (period.as_duration(), None);
    }
    let file: &AbsolutePath = &settings.paths.kubeadm;
    let read = own_text(root, file).map_err(|e| e.to_string());
    let found = read.and_then(|text| {
        kubeadm::certificate_validity(&text).map_err(|reason| format!("{file}: {reason}"))
    });
    match found {
        Ok(validity) => (validity, None),
        Err(reason) => {
            let note = format!(
                "renewed certificates are valid for kubeadm's default of 365 days: {reason}; \
                 paths.kubeadm in the configuration names kubeadm's, and renewal.validity a time \
                 of your own"
            );
            (kubeadm::VALIDITY, Some(note))
        }
    }
}

/// The manifests that these notes are about.
fn unclear(dir: &AbsolutePath, notes: &[&Note]) -> Vec<UnclearManifest> {
    let mut all: Vec<UnclearManifest> = Vec::new();
    for note in notes {
        let file = note.unclear_manifest().and_then(|name| dir.join(name).ok());
        let (Some(file), reason) = (file, note.to_string()) else { continue };
        match all.iter_mut().find(|one| one.file == file) {
            Some(one) => one.reason = format!("{}; {reason}", one.reason),
            None => all.push(UnclearManifest { file, reason }),
        }
    }
    all
}

fn shares_ca(root: &Root, one: &AbsolutePath, other: &AbsolutePath) -> Option<bool> {
    let read = |file| {
        let content = root.read(file, LARGEST_FILE).ok()?;
        certificates(content.bytes.expose()).ok()
    };
    let (one, other) = (read(one)?, read(other).unwrap_or_default());
    Some(one.iter().any(|one| other.iter().any(|other| one.is_of_same_ca(other))))
}

/// A configuration file: its name and its text.
pub type ConfigFile = (PathBuf, String);

impl Config {
    /// Reads the configuration files.
    ///
    /// # Errors
    /// When one exists and can't be read, or a required one does not exist.
    pub fn read(&self, root: &Root) -> Result<Vec<ConfigFile>, NodeError> {
        match self {
            Self::Usual => config_files(root, &AbsolutePath::constant(USUAL_CONFIG), false),
            Self::Given(path) => {
                let failed = |source| FileError {
                    path: path.clone(),
                    problem: FileProblem::Io { action: "find", source },
                };
                let full = std::path::absolute(path).map_err(failed)?;
                config_files(&Root::open(Path::new("/"))?, &absolute(&full)?, true)
            }
        }
    }
}

fn absolute(path: &Path) -> Result<AbsolutePath, NodeError> {
    AbsolutePath::new(path).map_err(|source| NodeError::Path { path: path.to_owned(), source })
}

/// The file itself, then its drop-ins: for `kubecertd.toml` those in `kubecertd.d` beside it.
fn config_files(
    root: &Root,
    file: &AbsolutePath,
    needed: bool,
) -> Result<Vec<ConfigFile>, NodeError> {
    let mut files = Vec::new();
    match own_text(root, file) {
        Err(NodeError::File(e)) if e.is_not_found() && !needed => {}
        result => files.push((file.as_path().to_owned(), result?)),
    }
    let dir = file.as_path().with_extension("d");
    let names = match root.trusted_dir(&dir).and_then(|dir| dir.names()) {
        Ok(names) => names,
        Err(e) if e.is_not_found() => Vec::new(),
        Err(e) => return Err(e.into()),
    };
    for name in drop_ins(names.into_iter().filter_map(|name| name.into_string().ok())) {
        let path = absolute(&dir.join(name))?;
        files.push((path.as_path().to_owned(), own_text(root, &path)?));
    }
    Ok(files)
}

/// Reads a file that controls this program, which only root may write.
fn own_text(root: &Root, path: &AbsolutePath) -> Result<String, NodeError> {
    as_text(path, &root.read_root_only(path, LARGEST_FILE)?)
}

fn text(root: &Root, path: &AbsolutePath) -> Result<String, NodeError> {
    as_text(path, &root.read(path, LARGEST_FILE)?)
}

fn as_text(path: &AbsolutePath, content: &FileContent) -> Result<String, NodeError> {
    String::from_utf8(content.bytes.expose().to_vec())
        .map_err(|_| NodeError::NotText(path.as_path().to_owned()))
}

fn profile(root: &Root, settings: &Settings, name: &ProfileName) -> Result<Profile, NodeError> {
    let file = settings
        .profile_file(name)
        .map_err(|source| NodeError::Path { path: name.to_string().into(), source })?;
    let own = match own_text(root, &file) {
        Ok(text) => Some(text),
        Err(NodeError::File(e)) if e.is_not_found() => None,
        Err(e) => return Err(e),
    };
    Ok(Profile::load(settings, name, own.as_deref())?)
}

/// The names and texts of the manifests; `None` where the directory can't be read. `unread` gets
/// those that can't be read, with the reason.
fn manifests(
    root: &Root,
    dir: &AbsolutePath,
    notes: &mut Vec<String>,
    unread: &mut Vec<(String, String)>,
) -> Option<Vec<(String, String)>> {
    let names = match root.open_dir(dir.as_path()).and_then(|dir| dir.names()) {
        Ok(names) => names,
        Err(e) if e.is_not_found() => return Some(Vec::new()),
        Err(e) => {
            notes.push(format!(
                "{e}; the usual paths are taken instead of the ones that the manifests say"
            ));
            return None;
        }
    };
    // kubelet ignores hidden files and reads every other, with any extension.
    let names = names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !name.starts_with('.'));
    let mut found = Vec::new();
    for name in names {
        match dir
            .join(&name)
            .map_err(|source| NodeError::Path { path: name.clone().into(), source })
            .and_then(|path| text(root, &path))
        {
            Ok(text) => found.push((name, text)),
            // kubelet does not read directories either.
            Err(NodeError::File(FileError {
                problem: FileProblem::NotAFile("a directory"),
                ..
            })) => {}
            Err(e) => {
                unread.push((name, format!("{e}; the content of this manifest is not known")))
            }
        }
    }
    Some(found)
}

/// Finds the CA of the node that signed a serving certificate which only a flag names: it renews
/// that one.
fn adopt_serving(root: &ObservedFiles, catalog: &mut Catalog) {
    if catalog.serving.is_empty() {
        return;
    }
    let authorities: Vec<(AuthorityName, LoadedAuthority)> = catalog
        .authorities
        .iter()
        .map(|authority| (authority.name.clone(), load_authority(root, authority)))
        .collect();
    let serving = |credential: &&mut Credential| catalog.serving.contains(&credential.name);
    for credential in catalog.credentials.iter_mut().filter(serving) {
        let Some(stored) = load(root, credential).stored() else { continue };
        let signed = |(_, one): &&(AuthorityName, LoadedAuthority)| {
            one.signer_of(&stored.certificate) == Signer::Authority
        };
        if let Some((name, _)) = authorities.iter().find(signed) {
            credential.authority = Some(name.clone());
            credential.renewal = Renewal::Ours;
        }
    }
}

/// Reads a configuration file that a manifest names. One that others than root can write names no
/// files for root.
fn configuration(root: &Root, path: &AbsolutePath) -> Result<String, String> {
    own_text(root, path).map_err(|e| e.to_string())
}

/// Returns where the kubeconfigs of the profile have the certificates of their users.
fn references(root: &ObservedFiles, profile: &Profile) -> BTreeMap<AbsolutePath, Reference> {
    let mut references = BTreeMap::new();
    for path in profile.kubeconfig_references() {
        let client = root.kubeconfig(path).map(|config| config.user.client);
        references.extend(
            client
                .and_then(|client| reference(root, path, client))
                .map(|reference| (path.clone(), reference)),
        );
    }
    references
}

fn reference(
    root: &Root,
    kubeconfig: &AbsolutePath,
    client: ClientCertificate,
) -> Option<Reference> {
    match (client.certificate, client.key) {
        (PemSource::Embedded(_), _) => Some(Reference::Embedded),
        (PemSource::File(certificate), PemSource::File(key)) => {
            let file = |name: &str| referenced(root, kubeconfig, name).ok();
            Some(Reference::Files { certificate: file(&certificate)?, key: file(&key)? })
        }
        _ => None,
    }
}

/// Returns the users of a kubeconfig; none where it can't be read.
fn users(root: &ObservedFiles, path: &AbsolutePath) -> KubeconfigUsers {
    if let Some(config) = root.kubeconfig(path) {
        let (current, others) = (Some(config.user.name), config.others_with_certificates);
        return KubeconfigUsers { current, others };
    }
    let Ok(content) = root.read(path, LARGEST_FILE) else { return KubeconfigUsers::default() };
    let text = content.bytes.expose();
    let has_one = |user: &kubeconfig::User| user.client.certificate != PemSource::Missing;
    let all = kubeconfig::users(text).unwrap_or_default();
    let others = all.into_iter().filter(has_one).map(|user| user.name).collect();
    KubeconfigUsers { current: None, others }
}

/// The host name: of this machine as the kernel reports it, of another root directory as its file
/// says.
#[must_use]
pub fn host_name(root: &Root) -> String {
    let file = if root.is_host() { "/proc/sys/kernel/hostname" } else { "/etc/hostname" };
    let read = root.read(&AbsolutePath::constant(file), 4096).ok();
    let name =
        read.map(|content| String::from_utf8_lossy(content.bytes.expose()).trim().to_owned());
    name.filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))
        .unwrap_or_else(|| "localhost".to_owned())
}

fn platform(exists: &dyn Fn(&AbsolutePath) -> bool) -> Platform {
    let marker = AbsolutePath::constant("/etc/platform/platform.conf");
    if exists(&marker) { Platform::StarlingX } else { Platform::Plain }
}

//! Static pod manifests: which component of Kubernetes a pod is, with which flags, variables or
//! configuration file its container is started, and which host file it sees at a path.
//!
//! A manifest is read as kubelet reads it, YAML or JSON, and only the parts used here. `flags` sets
//! and removes flags in its text and touches no other byte.

mod config_file;
mod flags;
mod program;
mod shape;
mod shell;
mod signing;
mod words;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_saphyr::DuplicateKeyPolicy;

pub use self::flags::with_flags;
pub use self::signing::PER_USAGE_SIGNING_FLAGS;

use self::config_file::{Configuration, Values};
use self::program::{Program, Value, is_image_of, runs, runs_tool_of, script_words};
use self::shape::{Container, HttpGet, Manifest, Port, Volume, VolumeMount};
use self::words::{command_line, environment};
use crate::model::AbsolutePath;

/// Why a text is not the manifest of a pod.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// It is neither YAML nor JSON, or has not the form of a pod.
    #[error("it can't be read as a pod: {0}")]
    Unreadable(String),
    /// It is a manifest of another kind.
    #[error("it is a {0}, and kubelet takes only a Pod")]
    NotAPod(String),
    /// It has no container.
    #[error("its pod has no container")]
    NoContainer,
}

/// Why no file of the host can be named for a path in a container.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoHostPath {
    /// It depends on the container's working directory.
    #[error("it is not an absolute path")]
    NotAbsolute,
    /// It depends on a variable or a command.
    #[error("it depends on a variable or a command whose value is not known here")]
    NotKnown,
    /// No volume is mounted there: the file is part of the image.
    #[error("no hostPath volume is mounted there")]
    NoMount,
    /// The volume mounted there is not a directory or file of the host that is known beforehand.
    #[error("the volume {0:?} that is mounted there is not a plain hostPath")]
    OtherVolume(String),
}

/// The pod of a manifest.
#[derive(Clone, Debug)]
pub struct Pod {
    name: String,
    labels: Vec<String>,
    host_network: bool,
    containers: Vec<Container>,
    /// The init containers that go on running.
    sidecars: Vec<Container>,
    /// The container of the component.
    main: usize,
    /// What that one runs.
    program: Program,
    configuration: Option<&'static Configuration>,
    file: Option<ConfigurationFile>,
    volumes: Vec<Volume>,
}

/// A configuration file that a pod names.
#[derive(Clone, Debug)]
struct ConfigurationFile {
    path: String,
    /// `None` where it can't be read.
    values: Option<Values>,
}

/// How surely a pod is one of a component. The surest comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// A label, the name of a container or the image says so.
    Labelled,
    /// A container runs it.
    Runs,
    /// It is the pod's name.
    Named,
}

/// A setting of a component: a flag, or what stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<'p> {
    /// The value.
    pub value: &'p str,
    /// Whether the whole value is known.
    pub known: bool,
    /// What says so: `--cert-file`, `ETCD_CERT_FILE`, or a key and the file that it is in.
    pub by: String,
}

/// The labels that name a component.
const LABELS: [&str; 4] =
    ["component", "k8s-app", "app.kubernetes.io/component", "app.kubernetes.io/name"];

impl Pod {
    /// Reads a manifest. Of several documents in a YAML stream only the first one counts, as for
    /// kubelet. Its main container is the one with the pod's name, as in every manifest of
    /// kubeadm; else the first. Others are sidecars.
    ///
    /// # Errors
    /// [`ManifestError`], when kubelet would refuse it as well, as far as the parts read here show
    /// it.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest = first_document(text)?;
        if manifest.kind != "Pod" {
            return Err(ManifestError::NotAPod(manifest.kind));
        }
        if manifest.spec.containers.is_empty() {
            return Err(ManifestError::NoContainer);
        }
        let labels = manifest.metadata.labels.unwrap_or_default();
        let labels = LABELS.iter().filter_map(|label| labels.get(*label).cloned().flatten());
        let name = manifest.metadata.name;
        let mut pod = Self {
            name: name.clone(),
            labels: labels.collect(),
            host_network: manifest.spec.host_network.unwrap_or(false),
            containers: manifest.spec.containers,
            sidecars: manifest.spec.init_containers.unwrap_or_default(),
            main: 0,
            program: Program::default(),
            configuration: None,
            file: None,
            volumes: manifest.spec.volumes.unwrap_or_default(),
        };
        pod.sidecars.retain(Container::is_sidecar);
        Ok(pod.of_component(&name))
    }

    /// This pod as one of a component: by its container and its program.
    #[must_use]
    pub fn of_component(mut self, component: &str) -> Self {
        self.main = self.main_container(component);
        self.program = self.container().map(|one| Program::of(one, component)).unwrap_or_default();
        self.configuration = Configuration::of(component);
        self.file = None;
        self
    }

    /// How surely the pod is one of a component, if it may be.
    #[must_use]
    pub fn likeness(&self, component: &str) -> Option<Likeness> {
        let any = |is: &dyn Fn(&Container) -> bool| self.containers.iter().any(is);
        if self.name == component {
            Some(Likeness::Named)
        } else if any(&|one| runs(one, component)) {
            Some(Likeness::Runs)
        } else if any(&|one| runs_tool_of(one, component)) {
            None
        } else if self.labels.iter().any(|label| label == component)
            || any(&|one| one.name == component || is_image_of(one, component))
        {
            Some(Likeness::Labelled)
        } else {
            None
        }
    }

    /// The pod's name, without the node's suffix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image of the main container.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.container()?.image.as_deref()
    }

    /// The name of the main container.
    #[must_use]
    pub fn main(&self) -> &str {
        self.container().map_or("", |container| &container.name)
    }

    fn container(&self) -> Option<&Container> {
        self.containers.get(self.main)
    }

    fn main_container(&self, component: &str) -> usize {
        let is_named = |one: &Container| one.name == component || one.name == self.name;
        let runs = |one: &Container| runs(one, component);
        let find = |is: &dyn Fn(&Container) -> bool| self.containers.iter().position(is);
        find(&|one| is_named(one) && runs(one))
            .or_else(|| find(&runs))
            .or_else(|| find(&is_named))
            .unwrap_or(0)
    }

    /// The known value of a flag, or of what stands for it. The last one counts when it is
    /// repeated; an empty value counts as none.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.setting(name).filter(|setting| setting.known).map(|setting| setting.value)
    }

    /// What a flag says, a variable that stands for it, or the configuration file, as the component
    /// itself decides between them.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<Setting<'_>> {
        let of_file = self.file.as_ref().and_then(|file| {
            let (key, value) = file.values.as_ref()?.get(name)?;
            Some(Setting { value, known: true, by: format!("{key} in {}", file.path) })
        });
        if of_file.is_some() || self.is_file_alone() {
            return of_file;
        }
        let flags = self.program.flag(name);
        match flags.last() {
            Some(last) => last.and_then(|value| setting(value, format!("--{name}"))),
            None => self.variable(name),
        }
    }

    /// All values of a flag that may be repeated.
    #[must_use]
    pub fn settings(&self, name: &str) -> Vec<Setting<'_>> {
        let all = self.program.flag(name).into_iter().flatten();
        all.filter_map(|value| setting(value, format!("--{name}"))).collect()
    }

    fn variable(&self, flag: &str) -> Option<Setting<'_>> {
        let variable = self.configuration?.variable(flag)?;
        setting(Value::of(self.program.environment.get(&variable)?), variable)
    }

    /// The configuration file that takes the place of flags, where the pod names one.
    #[must_use]
    pub fn configuration_file(&self) -> Option<Setting<'_>> {
        let flag = self.configuration?.flag;
        match self.program.flag(flag).last().copied().flatten() {
            Some(value) => setting(value, format!("--{flag}")),
            None => self.variable(flag),
        }
    }

    /// Takes the configuration file: its path for texts, and its text if it can be read.
    ///
    /// # Errors
    /// Why the text can't be used.
    pub fn take_configuration(&mut self, path: &str, text: Option<&str>) -> Result<(), String> {
        let Some(configuration) = self.configuration else { return Ok(()) };
        let read = text.map(|text| configuration.read(text)).transpose();
        let (values, result) = match read {
            Ok(values) => (values, Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.file = Some(ConfigurationFile { path: path.to_owned(), values });
        result
    }

    fn is_file_alone(&self) -> bool {
        self.file.is_some() && self.configuration.is_some_and(|one| one.alone)
    }

    /// Why there may be more settings than those that are read, if that is so.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.program.doubt.as_deref()
    }

    /// The file or directory of the host that a setting names.
    ///
    /// # Errors
    /// [`NoHostPath`] says why there is none.
    pub fn host_file(&self, setting: &Setting<'_>) -> Result<AbsolutePath, NoHostPath> {
        if setting.known { self.host_path(setting.value) } else { Err(NoHostPath::NotKnown) }
    }

    /// The files of the host that each container mounts by themselves or that its command line,
    /// variables or probes name, with the container's name. Directories above a file that is not
    /// named don't count.
    #[must_use]
    pub fn files(&self) -> Vec<(&str, BTreeSet<AbsolutePath>)> {
        let files = self.containers.iter().chain(&self.sidecars).map(|container| {
            let mounted = container.volume_mounts.iter().flatten();
            let mounted = mounted.filter_map(|mount| self.volume_path(mount, Path::new("")));
            let named = texts(container);
            let named = named.iter().flat_map(|text| paths(text));
            let named = named.filter_map(|path| self.host_path_in(container, path).ok());
            (container.name.as_str(), mounted.chain(named).collect())
        });
        files.collect()
    }

    /// The file or directory of the host that the container sees at a path.
    ///
    /// # Errors
    /// [`NoHostPath`] says why there is none.
    pub fn host_path(&self, path: &str) -> Result<AbsolutePath, NoHostPath> {
        let container = self.container().ok_or(NoHostPath::NoMount)?;
        self.host_path_in(container, path)
    }

    fn host_path_in(&self, container: &Container, path: &str) -> Result<AbsolutePath, NoHostPath> {
        if path.contains("$(") {
            return Err(NoHostPath::NotKnown);
        }
        let path = AbsolutePath::new(path).map_err(|_| NoHostPath::NotAbsolute)?;
        let mounts = container.volume_mounts.iter().flatten();
        let fitting = mounts.filter_map(|mount| {
            Some((mount, path.as_path().strip_prefix(mount.dir()).ok()?.to_owned()))
        });
        let (mount, rest) =
            fitting.min_by_key(|(_, rest)| rest.components().count()).ok_or(NoHostPath::NoMount)?;
        self.volume_path(mount, &rest).ok_or_else(|| NoHostPath::OtherVolume(mount.name.clone()))
    }

    fn volume_path(&self, mount: &VolumeMount, rest: &Path) -> Option<AbsolutePath> {
        let volume = self.volumes.iter().find(|volume| volume.name == mount.name)?;
        let mut path = PathBuf::from(&volume.host_path.as_ref()?.path);
        if mount.sub_path_expr.as_ref().is_some_and(|expression| !expression.is_empty()) {
            return None;
        }
        path.extend(mount.sub_path.iter().flat_map(|sub| inner(Path::new(sub))));
        path.extend(inner(rest));
        AbsolutePath::new(path).ok()
    }

    /// The URL at which kubelet checks whether the container serves: the readiness probe's, else
    /// the liveness probe's. A live one need not serve: /livez of etcd 3.6 says nothing of a lost
    /// quorum.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let container = self.container()?;
        let probes = [&container.readiness_probe, &container.liveness_probe];
        probes.into_iter().flatten().find_map(|probe| self.url(probe.http_get.as_ref()?))
    }

    fn url(&self, get: &HttpGet) -> Option<String> {
        let host = match get.host.as_deref().filter(|host| !host.is_empty()) {
            Some(host) if host.contains(':') => format!("[{host}]"),
            Some(host) => host.to_owned(),
            // The probe asks the pod's address, which is the node's: a server there usually listens
            // on loopback as well.
            None if self.host_network => "127.0.0.1".to_owned(),
            None => return None,
        };
        let port = match &get.port {
            Port::Number(number) => *number,
            Port::Name(name) => self.port(name)?,
        };
        let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
        let path = get.path.as_deref().unwrap_or_default().trim_start_matches('/');
        Some(format!("{scheme}://{host}:{port}/{path}"))
    }

    fn port(&self, name: &str) -> Option<u16> {
        let mut ports = self.container()?.ports.iter().flatten();
        ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
    }
}

/// Parses the first document. JSON is YAML, so one parser reads both.
fn first_document(text: &str) -> Result<Manifest, ManifestError> {
    // A single document without repeated keys, as nearly every manifest is, is parsed three times
    // faster by itself.
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(manifest) => Ok(manifest),
        Err(_) => first_of_several(text),
    }
}

/// Parses the first document of any text. A repeated key is no error for kubelet: the last one
/// counts.
fn first_of_several(text: &str) -> Result<Manifest, ManifestError> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    let mut reader = text.as_bytes();
    let first = serde_saphyr::read_with_options(&mut reader, options).next();
    match first {
        Some(Ok(manifest)) => Ok(manifest),
        Some(Err(error)) => Err(ManifestError::Unreadable(error.without_snippet().to_string())),
        None => Err(ManifestError::Unreadable("it is empty".to_owned())),
    }
}

/// An empty value counts as none.
fn setting(value: Value<'_>, by: String) -> Option<Setting<'_>> {
    (!value.text.is_empty()).then_some(Setting { value: value.text, known: value.known, by })
}

/// What may name a file that a container uses.
fn texts(container: &Container) -> Vec<String> {
    let environment = environment(container);
    let script = script_words(container);
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let commands = probes.into_iter().flatten().filter_map(|probe| probe.exec.as_ref());
    let probed = commands.flat_map(|exec| exec.command.iter().flatten().cloned());
    let words = command_line(container, &environment).into_iter();
    let words = words.chain(environment.into_values()).chain(script);
    words.map(|word| word.text).chain(probed).collect()
}

/// The absolute paths in a text.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let is_part =
        |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '%');
    text.split(move |c: char| !is_part(c)).filter(|part| part.starts_with('/'))
}

/// The components of a path without those that would leave the directory that it is put below.
fn inner(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests;

//! Static pod manifests: which flags a container is started with, and which host file it sees at a
//! path.
//!
//! A manifest is read as kubelet reads it, YAML or JSON, and only the parts used here; nothing is
//! written.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::DuplicateKeyPolicy;

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
    /// It depends on the container's working directory or environment.
    #[error("it is not an absolute path")]
    NotAbsolute,
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
    host_network: bool,
    container: Container,
    volumes: Vec<Volume>,
}

impl Pod {
    /// Reads a manifest. Of several documents in a YAML stream only the first one counts, as for
    /// kubelet.
    ///
    /// # Errors
    /// [`ManifestError`], when kubelet would refuse it as well, as far as the parts read here show
    /// it.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest = first_document(text)?;
        if manifest.kind != "Pod" {
            return Err(ManifestError::NotAPod(manifest.kind));
        }
        let name = manifest.metadata.name;
        let container =
            main_container(manifest.spec.containers, &name).ok_or(ManifestError::NoContainer)?;
        let volumes = manifest.spec.volumes.unwrap_or_default();
        Ok(Self {
            name,
            host_network: manifest.spec.host_network.unwrap_or(false),
            container,
            volumes,
        })
    }

    /// The pod's name, without the node's suffix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image of the container.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.container.image.as_deref()
    }

    /// The value of a command line flag. The last one counts when it is repeated; an empty value
    /// counts as none.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&str> {
        let command = self.container.command.iter().flatten().skip(1); // the program
        let arguments = command.chain(self.container.args.iter().flatten());
        let mut words = arguments.map(String::as_str).take_while(|word| *word != "--").peekable();
        let mut found = None;
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                continue;
            };
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (flag, words.next_if(|next| !next.starts_with('-'))),
            };
            if same_flag(flag, name) {
                found = value;
            }
        }
        found.filter(|value| !value.is_empty())
    }

    /// The file or directory of the host that the container sees at a path.
    ///
    /// # Errors
    /// [`NoHostPath`] says why there is none.
    pub fn host_path(&self, path: &str) -> Result<AbsolutePath, NoHostPath> {
        // "$(NAME)" is replaced by a variable of the container's environment, which is not known
        // here.
        if path.contains("$(") {
            return Err(NoHostPath::NotAbsolute);
        }
        let path = AbsolutePath::new(path).map_err(|_| NoHostPath::NotAbsolute)?;
        let mounts = self.container.volume_mounts.iter().flatten();
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

    /// The URL at which kubelet checks the health of the container: the liveness probe's, else the
    /// readiness probe's.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let probes = [&self.container.liveness_probe, &self.container.readiness_probe];
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
        let mut ports = self.container.ports.iter().flatten();
        ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
    }
}

/// Parses the first document. JSON is YAML, so one parser reads both. A repeated key is no error
/// for kubelet: the last one counts.
fn first_document(text: &str) -> Result<Manifest, ManifestError> {
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

/// Returns the container with the pod's name, as in every manifest of kubeadm; else the first.
/// Others are sidecars.
fn main_container(mut containers: Vec<Container>, pod: &str) -> Option<Container> {
    let named = containers.iter().position(|container| container.name == pod).unwrap_or(0);
    (named < containers.len()).then(|| containers.swap_remove(named))
}

/// Compares names of flags. The components of Kubernetes accept `_` for `-` in them.
fn same_flag(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one
            .chars()
            .zip(other.chars())
            .all(|(a, b)| a == b || (matches!(a, '-' | '_') && matches!(b, '-' | '_')))
}

/// The components of a path without those that would leave the directory that it is put below.
fn inner(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|component| matches!(component, Component::Normal(_)))
}

#[derive(Deserialize)]
struct Manifest {
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    containers: Vec<Container>,
    volumes: Option<Vec<Volume>>,
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    image: Option<String>,
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    volume_mounts: Option<Vec<VolumeMount>>,
    ports: Option<Vec<ContainerPort>>,
    liveness_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeMount {
    name: String,
    mount_path: String,
    sub_path: Option<String>,
    sub_path_expr: Option<String>,
}

impl VolumeMount {
    /// A relative mount path starts at the container's root.
    fn dir(&self) -> PathBuf {
        Path::new("/").join(&self.mount_path)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    host_path: Option<HostPath>,
}

#[derive(Clone, Debug, Deserialize)]
struct HostPath {
    path: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerPort {
    name: Option<String>,
    container_port: u16,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
}

#[derive(Clone, Debug, Deserialize)]
struct HttpGet {
    host: Option<String>,
    path: Option<String>,
    port: Port,
    scheme: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Port {
    Number(u16),
    Name(String),
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrName;
        impl Visitor<'_> for NumberOrName {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number or name of a port")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Port, E> {
                u16::try_from(number)
                    .map(Port::Number)
                    .map_err(|_| E::custom(format!("{number} is not a port")))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Port, E> {
                u16::try_from(number)
                    .map(Port::Number)
                    .map_err(|_| E::custom(format!("{number} is not a port")))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Port, E> {
                Ok(text.parse().map_or_else(|_| Port::Name(text.to_owned()), Port::Number))
            }
        }
        deserializer.deserialize_any(NumberOrName).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;

//! The parts of a manifest that are read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
pub(super) struct Manifest {
    pub kind: String,
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Deserialize)]
pub(super) struct Metadata {
    pub name: String,
    pub labels: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub containers: Vec<Container>,
    pub init_containers: Option<Vec<Container>>,
    pub volumes: Option<Vec<Volume>>,
    pub host_network: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub name: String,
    pub image: Option<String>,
    pub command: Option<Vec<String>>,
    pub args: Option<Vec<String>>,
    pub env: Option<Vec<EnvironmentVariable>>,
    pub volume_mounts: Option<Vec<VolumeMount>>,
    pub ports: Option<Vec<ContainerPort>>,
    pub liveness_probe: Option<Probe>,
    pub readiness_probe: Option<Probe>,
    pub startup_probe: Option<Probe>,
    pub restart_policy: Option<String>,
}

impl Container {
    /// Whether an init container goes on running beside the others.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnvironmentVariable {
    pub name: String,
    pub value: Option<String>,
    pub value_from: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeMount {
    pub name: String,
    mount_path: String,
    pub sub_path: Option<String>,
    pub sub_path_expr: Option<String>,
}

impl VolumeMount {
    /// A relative mount path starts at the container's root.
    pub fn dir(&self) -> PathBuf {
        Path::new("/").join(&self.mount_path)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub name: String,
    pub host_path: Option<HostPath>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct HostPath {
    pub path: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub name: Option<String>,
    pub container_port: u16,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Probe {
    pub http_get: Option<HttpGet>,
    pub exec: Option<Exec>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Exec {
    pub command: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct HttpGet {
    pub host: Option<String>,
    pub path: Option<String>,
    pub port: Port,
    pub scheme: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Port {
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

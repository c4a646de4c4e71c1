//! The manifests of the node by the name of their pod.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::note::Note;
use crate::formats::manifest::{ManifestError, Pod};
use crate::model::Version;
use crate::sys::on_all_cores;

/// The manifests of the node.
pub(super) struct Manifests {
    pods: BTreeMap<String, (String, Pod)>,
    unreadable: Vec<String>,
}

/// The manifest of a pod.
pub(super) enum Manifest<'a> {
    /// It was read.
    Read { file: &'a str, pod: &'a Pod },
    /// A file with the pod's name that could not be read.
    Unreadable { file: &'a str },
    /// There is none.
    Absent,
}

impl Manifests {
    /// Reads the files that kubelet reads: every file whose name does not begin with a dot, with
    /// any extension.
    pub fn read(files: &[(String, String)], notes: &mut Vec<Note>) -> Self {
        let mut files: Vec<&(String, String)> =
            files.iter().filter(|(file, _)| !file.starts_with('.')).collect();
        files.sort();
        let mut manifests = Self { pods: BTreeMap::new(), unreadable: Vec::new() };
        // Parsing takes half the time of observing a healthy node.
        let pods = on_all_cores(&files, |(_, text)| Pod::parse(text));
        for ((file, _), pod) in files.iter().zip(pods) {
            match pod.unwrap_or_else(|| {
                Err(ManifestError::Unreadable("a fault in kubecertd; please report it".to_owned()))
            }) {
                Ok(pod) => manifests.add(file, pod, notes),
                Err(error) => {
                    manifests.unreadable.push(file.clone());
                    notes.push(Note::Unreadable { file: file.clone(), error });
                }
            }
        }
        manifests
    }

    fn add(&mut self, file: &str, pod: Pod, notes: &mut Vec<Note>) {
        match self.pods.get(pod.name()) {
            Some((kept, _)) => {
                notes.push(Note::SamePod {
                    pod: pod.name().to_owned(),
                    kept: kept.clone(),
                    ignored: file.to_owned(),
                });
            }
            None => drop(self.pods.insert(pod.name().to_owned(), (file.to_owned(), pod))),
        }
    }

    /// How many members etcd had when this node joined; 0 without a manifest for it. kubeadm writes
    /// the members that were there at the time, so the first node's manifest names only itself.
    pub fn etcd_members(&self) -> usize {
        let members = self.pods.get("etcd").and_then(|(_, pod)| pod.flag("initial-cluster"));
        members.map_or(0, |members| members.split(',').count())
    }

    /// The address under which the cluster knows this node's API server.
    pub fn api_server_address(&self) -> Option<&str> {
        self.pods.get("kube-apiserver").and_then(|(_, pod)| pod.flag("advertise-address"))
    }

    /// The URL of this node's API server, as kubeadm writes it into the kubeconfigs of the node.
    pub fn api_server_url(&self) -> Option<String> {
        let (_, pod) = self.pods.get("kube-apiserver")?;
        let address: IpAddr = pod.flag("advertise-address")?.parse().ok()?;
        let port: u16 = pod.flag("secure-port").map_or(Some(6443), |port| port.parse().ok())?;
        Some(format!("https://{}", SocketAddr::new(address, port)))
    }

    /// The version of Kubernetes, by the image of the API server.
    pub fn kubernetes_version(&self) -> Option<Version> {
        self.pods.get("kube-apiserver").and_then(|(_, pod)| Version::of_image(pod.image()?))
    }

    /// The name of this node's etcd, which kubeadm gives it after the node.
    pub fn etcd_name(&self) -> Option<&str> {
        let (_, pod) = self.pods.get("etcd")?;
        let only_member = || {
            let members = pod.flag("initial-cluster")?;
            let (name, _) = members.split_once('=').filter(|_| !members.contains(','))?;
            Some(name)
        };
        pod.flag("name").or_else(only_member)
    }

    /// The manifest of a pod. One that could not be read is identified by its file name:
    /// `etcd.yaml` for `etcd`.
    pub fn of(&self, pod: &str) -> Manifest<'_> {
        if let Some((file, pod)) = self.pods.get(pod) {
            return Manifest::Read { file, pod };
        }
        match self.unreadable.iter().find(|file| file.split('.').next() == Some(pod)) {
            Some(file) => Manifest::Unreadable { file },
            None => Manifest::Absent,
        }
    }
}

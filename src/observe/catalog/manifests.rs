//! The manifests of the node by the component or the name of their pod.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::input::{ConfigurationReader, ManifestFile};
use super::note::Note;
use crate::formats::manifest::{Likeness, ManifestError, Pod, Setting};
use crate::model::Version;
use crate::sys::on_all_cores;

/// Parses files of the manifests directory: names and texts. Each is isolated: a fault in the
/// parser costs that one.
#[must_use]
pub fn parse_manifests(files: Vec<(String, String)>) -> Vec<ManifestFile> {
    let pods = on_all_cores(&files, |(_, text)| Pod::parse(text));
    let fault =
        || Err(ManifestError::Unreadable("a bug in kubecertd; please report it".to_owned()));
    let pods = pods.into_iter().map(|pod| pod.unwrap_or_else(fault)).collect::<Vec<_>>();
    files.into_iter().map(|(file, _)| file).zip(pods).collect()
}

/// The manifests of the node.
pub(super) struct Manifests {
    /// Those that can be read, by the names of their files; of several for a pod of the same name
    /// the first one.
    pods: Vec<(String, Pod)>,
    /// The pods of components, read as such.
    components: BTreeMap<String, (String, Pod)>,
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
    /// any extension. `components` are the pods of the profile, which may have other names here;
    /// `configuration` reads the configuration files that pods name.
    pub fn read(
        files: &[ManifestFile],
        components: &[&str],
        configuration: ConfigurationReader<'_>,
        notes: &mut Vec<Note>,
    ) -> Self {
        let mut files: Vec<&ManifestFile> =
            files.iter().filter(|(file, _)| !file.starts_with('.')).collect();
        files.sort_by(|one, other| one.0.cmp(&other.0));
        let mut manifests =
            Self { pods: Vec::new(), components: BTreeMap::new(), unreadable: Vec::new() };
        let mut found = Vec::new();
        for (file, pod) in files.into_iter().cloned() {
            match pod {
                Ok(pod) => found.push((file, pod)),
                Err(error) => {
                    manifests.unreadable.push(file.clone());
                    notes.push(Note::Unreadable { file, is_component: false, error });
                }
            }
        }
        // etcd.yaml, as kubeadm names it, comes before copies such as etcd-old.yaml.
        found.sort_by_key(|(file, pod)| {
            (*file != format!("{}.yaml", pod.name()), stem(file) != pod.name())
        });
        for (file, pod) in found {
            manifests.add(file, pod, notes);
        }
        for component in components {
            manifests.find(component, configuration, notes);
        }
        let is_lost = |file: &str| {
            components.iter().any(|one| stem(file) == *one && manifests.component(one).is_none())
        };
        for note in notes {
            if let Note::Unreadable { file, is_component, .. } = note {
                *is_component = is_lost(file);
            }
        }
        manifests
    }

    fn add(&mut self, file: String, pod: Pod, notes: &mut Vec<Note>) {
        match self.pods.iter().find(|(_, other)| other.name() == pod.name()) {
            Some((kept, _)) => notes.push(Note::SamePod {
                pod: pod.name().to_owned(),
                kept: kept.clone(),
                ignored: file,
            }),
            None => self.pods.push((file, pod)),
        }
    }

    /// Finds the pod of a component, and reads it as such. Others that run it too are noted.
    fn find(
        &mut self,
        component: &str,
        configuration: ConfigurationReader<'_>,
        notes: &mut Vec<Note>,
    ) {
        let likeness = |at: usize| self.pods.get(at)?.1.likeness(component);
        let mut alike: Vec<(Likeness, usize)> =
            (0..self.pods.len()).filter_map(|at| Some((likeness(at)?, at))).collect();
        alike.sort_by_key(|(likeness, _)| std::cmp::Reverse(*likeness));
        let Some((&(_, first), others)) = alike.split_first() else { return };
        let Some((kept, pod)) = self.pods.get(first).cloned() else { return };
        let mut pod = pod.of_component(component);
        take_configuration(&kept, &mut pod, configuration, notes);
        let others = others.iter().filter(|(likeness, _)| *likeness > Likeness::Labelled);
        for (file, pod) in others.filter_map(|(_, at)| self.pods.get(*at)) {
            notes.push(Note::SameComponent {
                component: component.to_owned(),
                kept: kept.clone(),
                pod: pod.name().to_owned(),
                file: file.clone(),
            });
        }
        self.components.insert(component.to_owned(), (kept, pod));
    }

    /// How many members etcd had when this node joined; 0 without a manifest for it. kubeadm writes
    /// the members that were there at the time, so the first node's manifest names only itself.
    pub fn etcd_members(&self) -> usize {
        let members = self.component("etcd").and_then(|(_, pod)| pod.flag("initial-cluster"));
        members.map_or(0, |members| members.split(',').count())
    }

    /// The address under which the cluster knows this node's API server.
    pub fn api_server_address(&self) -> Option<&str> {
        self.component("kube-apiserver").and_then(|(_, pod)| pod.flag("advertise-address"))
    }

    /// The URL of this node's API server, as kubeadm writes it into the kubeconfigs of the node.
    pub fn api_server_url(&self) -> Option<String> {
        let (_, pod) = self.component("kube-apiserver")?;
        let address: IpAddr = pod.flag("advertise-address")?.parse().ok()?;
        let port: u16 = pod.flag("secure-port").map_or(Some(6443), |port| port.parse().ok())?;
        Some(format!("https://{}", SocketAddr::new(address, port)))
    }

    /// The version of Kubernetes, by the image of the API server.
    pub fn kubernetes_version(&self) -> Option<Version> {
        self.component("kube-apiserver").and_then(|(_, pod)| Version::of_image(pod.image()?))
    }

    /// The name of this node's etcd, which kubeadm gives it after the node.
    pub fn etcd_name(&self) -> Option<&str> {
        let (_, pod) = self.component("etcd")?;
        let only_member = || {
            let members = pod.flag("initial-cluster")?;
            let (name, _) = members.split_once('=').filter(|_| !members.contains(','))?;
            Some(name)
        };
        pod.flag("name").or_else(only_member)
    }

    fn component(&self, name: &str) -> Option<&(String, Pod)> {
        self.components.get(name)
    }

    /// The main containers that have another name than their pod, by the pod's name.
    pub fn main_containers(&self) -> BTreeMap<String, String> {
        let of_component = self.components.values().map(|(_, pod)| pod);
        let all = self.pods.iter().map(|(_, pod)| pod).chain(of_component);
        let all = all.filter(|pod| pod.main() != pod.name());
        all.map(|pod| (pod.name().to_owned(), pod.main().to_owned())).collect()
    }

    /// The components that have a pod here, with its manifest.
    pub fn components(&self) -> impl Iterator<Item = (&str, &Pod)> {
        self.components.iter().map(|(component, (_, pod))| (component.as_str(), pod))
    }

    /// All pods that were read, with the files of their manifests.
    pub fn pods(&self) -> impl Iterator<Item = (&str, &Pod)> {
        self.pods.iter().map(|(file, pod)| (file.as_str(), pod))
    }

    /// The manifest of a component or of a pod of that name. One that could not be read is
    /// identified by its file name: `etcd.yaml` for `etcd`.
    pub fn of(&self, pod: &str) -> Manifest<'_> {
        let named = || self.pods.iter().find(|(_, other)| other.name() == pod);
        if let Some((file, pod)) = self.component(pod).or_else(named) {
            return Manifest::Read { file, pod };
        }
        match self.unreadable.iter().find(|file| stem(file) == pod) {
            Some(file) => Manifest::Unreadable { file },
            None => Manifest::Absent,
        }
    }
}

/// The name of a file without its extensions.
pub(in crate::observe) fn stem(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

/// Has the pod take its configuration file, if it names one.
fn take_configuration(
    file: &str,
    pod: &mut Pod,
    configuration: ConfigurationReader<'_>,
    notes: &mut Vec<Note>,
) {
    let Some(Setting { value, known, by }) = pod.configuration_file() else { return };
    let value = value.to_owned();
    let setting = Setting { value: &value, known, by };
    let text = match pod.host_file(&setting) {
        Ok(path) => configuration(&path).map(|text| (path, text)),
        Err(problem) => Err(problem.to_string()),
    };
    let taken = match &text {
        Ok((path, text)) => pod
            .take_configuration(&path.to_string(), Some(text))
            .map_err(|problem| format!("{path}: {problem}")),
        Err(problem) => {
            let problem = problem.clone();
            pod.take_configuration(setting.value, None).and(Err(problem))
        }
    };
    if let Err(problem) = taken {
        let (file, by, value) = (file.to_owned(), setting.by.clone(), setting.value.to_owned());
        notes.push(Note::NoConfiguration { file, by, value, problem });
    }
}

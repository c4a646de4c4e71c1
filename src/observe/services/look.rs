//! One observation of the services: the shared connections, and the details of a running service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::Node;
use super::containers::Containers;
use super::limit::QUERY_TIMEOUT;
use super::moment::ObservedAt;
use crate::credentials::located;
use crate::drivers::cri::Mount;
use crate::drivers::processes::Process;
use crate::drivers::systemd::Systemd;
use crate::model::{AbsolutePath, Credential, CredentialName, Instance};
use crate::sys::{Clock, Root};

/// The shared connections of one observation. Each is opened when the first service needs it, and
/// once.
pub(super) struct Observer {
    pub root: Arc<Root>,
    pub moment: ObservedAt,
    pub credentials: Vec<Credential>,
    runtime: PathBuf,
    pods: Vec<String>,
    main_containers: BTreeMap<String, String>,
    containers: OnceCell<Result<Containers, String>>,
    systemd: OnceCell<Result<Systemd, String>>,
}

impl Observer {
    pub fn begin(node: &Node, clock: &dyn Clock) -> Result<Self, String> {
        let root = node.root.reopen().map_err(|e| e.to_string())?;
        let moment = ObservedAt::present(&root, clock)?;
        let pods = node.catalog.services.iter().filter_map(|service| service.kind.pod());
        Ok(Self {
            root: Arc::new(root),
            moment,
            runtime: node.runtime.clone(),
            credentials: node.catalog.credentials.clone(),
            pods: pods.map(str::to_owned).collect(),
            main_containers: node.catalog.main_containers.clone(),
            containers: OnceCell::new(),
            systemd: OnceCell::new(),
        })
    }

    /// Returns the container runtime's containers, or why they are not known.
    pub async fn containers(&self) -> Result<&Containers, String> {
        let containers =
            self.containers.get_or_init(|| Containers::ask(&self.runtime, &self.pods)).await;
        containers.as_ref().map_err(Clone::clone)
    }

    /// Returns systemd, or why it can't be queried.
    pub async fn systemd(&self) -> Result<&Systemd, String> {
        let connect = async || {
            Systemd::connect(QUERY_TIMEOUT)
                .await
                .map_err(|e| format!("systemd can't be asked: {e}; is dbus.service running?"))
        };
        self.systemd.get_or_init(connect).await.as_ref().map_err(Clone::clone)
    }

    /// The name of a pod's main container: that of the pod, unless its manifest says otherwise.
    pub fn main_container<'n>(&'n self, pod: &'n str) -> &'n str {
        self.main_containers.get(pod).map_or(pod, String::as_str)
    }

    pub fn credential(&self, name: &CredentialName) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.name == *name)
    }
}

/// Returns the present files of a credential.
pub(super) fn files(root: &Root, credential: &Credential) -> Vec<AbsolutePath> {
    located(root, credential).location.files().cloned().collect()
}

/// A running service, with the data needed to examine it.
#[derive(Clone, Debug)]
pub(super) struct RunningService {
    pub instance: Instance,
    /// Its main process, when it is certain that it belongs to the service.
    pub process: Option<Process>,
    /// How its other processes are recognised.
    pub group: Group,
    /// Its mounts; `None` for one that sees the whole host.
    pub mounts: Option<Vec<Mount>>,
}

/// The property that all processes of a service share.
#[derive(Clone, Debug)]
pub(super) enum Group {
    /// The container.
    Container(String),
    /// The systemd unit.
    Unit(String),
    /// None: it is a single process.
    Alone,
}

impl RunningService {
    /// Whether a process belongs to it.
    pub fn has(&self, root: &Root, process: Process) -> bool {
        self.process == Some(process) || self.group.has(root, process)
    }
}

impl Group {
    pub fn has(&self, root: &Root, process: Process) -> bool {
        let Ok(found) = process.cgroup(root) else { return false };
        match self {
            Self::Container(id) => found.container.as_ref() == Some(id),
            Self::Unit(unit) => found.unit.as_ref() == Some(unit),
            Self::Alone => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// A process of a made-up /proc in this control group.
    fn process(dir: &tempfile::TempDir, pid: u32, group: &str) -> (Root, Process) {
        let proc = dir.path().join(format!("proc/{pid}"));
        fs::create_dir_all(&proc).unwrap();
        let stat = format!("{pid} (x) S 1 17 17 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 10");
        fs::write(proc.join("stat"), stat).unwrap();
        fs::write(proc.join("cgroup"), format!("0::{group}\n")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let process = Process::find(&root, pid).unwrap().unwrap();
        (root, process)
    }

    /// Control groups of version 2 with the systemd driver, the defaults of kubeadm since 1.22, as
    /// containerd and CRI-O name them.
    #[test]
    fn process_belongs_to_the_container_in_the_path_of_its_control_group() {
        let dir = tempfile::tempdir().unwrap();
        let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8d3d.slice";
        let own = [
            format!("{pod}/cri-containerd-{ID}.scope"),
            format!("{pod}/crio-{ID}.scope"),
            format!("{pod}/crio-{ID}.scope/container"),
        ];
        let others = [
            format!("{pod}/cri-containerd-{}.scope", ID.replace('0', "1")),
            format!("{pod}/crio-conmon-{ID}.scope"),
            pod.to_owned(),
            "/system.slice/crio.service".to_owned(),
        ];
        let container = Group::Container(ID.to_owned());
        for (pid, group) in (7..).zip(own.iter().chain(&others)) {
            let (root, process) = process(&dir, pid, group);
            assert_eq!(container.has(&root, process), own.contains(group), "{group}");
        }
        let (root, process) = process(&dir, 99, "/system.slice/kubelet.service");
        assert!(Group::Unit("kubelet.service".to_owned()).has(&root, process));
        assert!(!container.has(&root, process) && !Group::Alone.has(&root, process));
    }
}

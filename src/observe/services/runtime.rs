//! The socket of the container runtime.

use std::path::{Path, PathBuf};

use crate::model::AbsolutePath;
use crate::observe::catalog::KubeletSettings;
use crate::sys::Root;

/// The default sockets of the usual runtimes.
const DEFAULT_SOCKETS: [&str; 3] =
    ["/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"];

/// Returns the runtime's socket: the one in kubelet's configuration, else the first default one
/// that exists, else the most common one.
pub(in crate::observe) fn socket(root: &Root, kubelet: Option<&KubeletSettings>) -> PathBuf {
    let configured = kubelet.and_then(|kubelet| kubelet.runtime.clone());
    let is_there = |path: &&'static str| {
        let place = root.locate(&AbsolutePath::constant(path));
        place.is_ok_and(|place| place.dir.stat(&place.name).is_ok_and(|found| found.is_some()))
    };
    let [usual, ..] = DEFAULT_SOCKETS;
    configured.unwrap_or_else(|| {
        Path::new(DEFAULT_SOCKETS.iter().copied().find(is_there).unwrap_or(usual)).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::Location;
    use crate::observe::catalog::KubeletServing;

    #[test]
    fn configured_socket_precedes_those_that_exist() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let found =
            |kubelet: Option<&KubeletSettings>| socket(&root, kubelet).display().to_string();
        assert_eq!(found(None), "/run/containerd/containerd.sock");
        fs::create_dir_all(dir.path().join("run/crio")).unwrap();
        fs::write(dir.path().join("run/crio/crio.sock"), "").unwrap();
        assert_eq!(found(None), "/run/crio/crio.sock");
        let path = AbsolutePath::constant("/var/lib/kubelet/pki/kubelet-server-current.pem");
        let mut kubelet = KubeletSettings {
            serving: KubeletServing::SelfSigned(Location::Bundle(path)),
            rotation_off: None,
            address: String::new(),
            runtime: Some("/run/a.sock".into()),
            kubeconfig: None,
            bootstrap: None,
        };
        assert_eq!(found(Some(&kubelet)), "/run/a.sock");
        kubelet.runtime = None;
        assert_eq!(found(Some(&kubelet)), "/run/crio/crio.sock");
    }
}

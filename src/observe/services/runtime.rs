//! The socket of the container runtime, from kubelet's configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::AbsolutePath;
use crate::sys::Root;

/// Files with flags for kubelet, in order of precedence: kubelet takes the last of a repeated flag,
/// and its packaged unit puts the operator's flags after kubeadm's.
const FLAG_FILES: [&str; 3] =
    ["/etc/default/kubelet", "/etc/sysconfig/kubelet", "/var/lib/kubelet/kubeadm-flags.env"];

/// kubelet's configuration; a flag overrides it.
const CONFIGURATION: &str = "/var/lib/kubelet/config.yaml";

/// The default sockets of the usual runtimes.
const DEFAULT_SOCKETS: [&str; 3] =
    ["/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"];

const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Returns the runtime's socket: the one in kubelet's configuration, else the first default one
/// that exists, else the most common one.
pub fn socket(root: &Root) -> PathBuf {
    let text = |file: &'static str| {
        let content = root.read(&AbsolutePath::constant(file), MAX_FILE_BYTES).ok()?;
        Some(String::from_utf8_lossy(content.bytes.expose()).into_owned())
    };
    let by_flag = || FLAG_FILES.into_iter().find_map(|file| in_flags(&text(file)?));
    let by_configuration = || in_configuration(&text(CONFIGURATION)?);
    let usual = || DEFAULT_SOCKETS.into_iter().find(|path| is_there(root, path)).map(PathBuf::from);
    by_flag().or_else(by_configuration).or_else(usual).unwrap_or_else(|| {
        DEFAULT_SOCKETS.map(PathBuf::from).into_iter().next().unwrap_or_default()
    })
}

fn is_there(root: &Root, path: &'static str) -> bool {
    let place = root.locate(&AbsolutePath::constant(path));
    place.is_ok_and(|place| place.dir.stat(&place.name).is_ok_and(|found| found.is_some()))
}

/// Parses lines such as `KUBELET_KUBEADM_ARGS="--a=b
/// --container-runtime-endpoint=unix:///run/containerd/containerd.sock"`.
fn in_flags(text: &str) -> Option<PathBuf> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')))
        .filter(|word| !word.is_empty());
    let mut found = None;
    while let Some(word) = words.next() {
        // The first word of a line may begin with the variable's name.
        let Some((_, value)) = word.split_once("--container-runtime-endpoint") else { continue };
        let value = if value.is_empty() { words.next() } else { value.strip_prefix('=') };
        found = value.or(found);
    }
    path(found?)
}

fn in_configuration(text: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Configuration {
        container_runtime_endpoint: Option<String>,
    }
    path(&serde_saphyr::from_str::<Configuration>(text).ok()?.container_runtime_endpoint?)
}

/// Parses `unix:///path`, or the path alone, as in older versions.
fn path(endpoint: &str) -> Option<PathBuf> {
    let path = Path::new(endpoint.strip_prefix("unix://").unwrap_or(endpoint));
    path.is_absolute().then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct TestNode(tempfile::TempDir);

    impl TestNode {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, path: &str, text: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn socket(&self) -> String {
            socket(&Root::open(self.0.path()).unwrap()).display().to_string()
        }
    }

    #[test]
    fn first_configured_endpoint_is_used() {
        let node = TestNode::new();
        assert_eq!(node.socket(), "/run/containerd/containerd.sock");
        node.file("run/crio/crio.sock", "");
        assert_eq!(node.socket(), "/run/crio/crio.sock");
        node.file(
            "var/lib/kubelet/config.yaml",
            "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix:///run/a.sock\n",
        );
        assert_eq!(node.socket(), "/run/a.sock");
        node.file(
            "var/lib/kubelet/kubeadm-flags.env",
            "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/b.sock --x=y\"\n",
        );
        assert_eq!(node.socket(), "/run/b.sock");
        node.file(
            "etc/default/kubelet",
            "# \
            KUBELET_EXTRA_ARGS=--container-runtime-endpoint=/run/no.sock\n\
            KUBELET_EXTRA_ARGS=--v=2\n",
        );
        assert_eq!(node.socket(), "/run/b.sock");
        node.file(
            "etc/default/kubelet",
            "KUBELET_EXTRA_ARGS=--container-runtime-endpoint=/run/c.sock\n",
        );
        assert_eq!(node.socket(), "/run/c.sock");
    }

    #[test]
    fn flag_is_found_in_each_form() {
        let found = |text: &str| in_flags(text).map(|path| path.display().to_string());
        let expected = Some("/run/x.sock".to_owned());
        for text in [
            "A=\"--network-plugin=cni --container-runtime=remote \
             --container-runtime-endpoint=/run/x.sock\"",
            "A='--container-runtime-endpoint unix:///run/x.sock'",
            "A=--container-runtime-endpoint=unix:///run/x.sock",
            "A=\"--container-runtime-endpoint=/run/y.sock \
             --container-runtime-endpoint=/run/x.sock\"",
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
        for text in [
            "",
            "A=\"--container-runtime=remote\"",
            "A=--container-runtime-endpoint=",
            "A=--container-runtime-endpoint=npipe://x",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn configuration_without_endpoint_is_none() {
        for text in [
            "",
            "kind: KubeletConfiguration",
            "containerRuntimeEndpoint: ''",
            "[",
            "containerRuntimeEndpoint: [1]",
        ] {
            assert_eq!(in_configuration(text), None, "{text}");
        }
    }
}

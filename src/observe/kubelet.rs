//! kubelet's own client certificate: how kubelet finds it, and the node that it is for, by the
//! files of this node.

use super::material::material;
use crate::credentials::{Loaded, LoadedAuthority, load};
use crate::formats::kubeconfig::{Kubeconfig, PemSource};
use crate::formats::x509::{NODE_PREFIX, NODES};
use crate::model::{AbsolutePath, Credential, KubeletClient, Leaf, Location, Material};
use crate::store::LARGEST_FILE;
use crate::sys::Root;

/// The files with kubelet's flags, as in kubeadm and its packages. The last value of a flag counts,
/// so the operator's file is first.
const FLAGS: [&str; 3] =
    ["/etc/default/kubelet", "/etc/sysconfig/kubelet", "/var/lib/kubelet/kubeadm-flags.env"];

const NAME_FLAG: &str = "--hostname-override";

/// Returns the facts. `own` is the content of the file that kubelet.conf names, or would name.
pub(super) fn client(
    root: &Root,
    credential: &Credential,
    kubeconfig: &AbsolutePath,
    own: &Material,
    authority: Option<&LoadedAuthority>,
) -> Option<KubeletClient> {
    let text = root.read(kubeconfig, LARGEST_FILE).ok()?;
    let parsed = Kubeconfig::parse(text.bytes.expose()).ok()?;
    let embeds = matches!(parsed.user.client.certificate, PemSource::Embedded(_));
    let embedded = embeds.then(|| embedded(root, credential, kubeconfig, authority));
    let leaves = [own.leaf(), embedded.as_ref().and_then(Material::leaf)];
    let node = leaves
        .into_iter()
        .flatten()
        .find_map(node_of)
        .map_or_else(|| elsewhere(root, &parsed.user.name, kubeconfig), Ok);
    Some(KubeletClient { kubeconfig: kubeconfig.clone(), embedded, node })
}

fn embedded(
    root: &Root,
    credential: &Credential,
    kubeconfig: &AbsolutePath,
    authority: Option<&LoadedAuthority>,
) -> Material {
    let entry =
        Credential { location: Location::Kubeconfig(kubeconfig.clone()), ..credential.clone() };
    let loaded: Loaded = load(root, &entry);
    material(loaded, authority, &mut |_| {})
}

/// The node that a certificate is for.
fn node_of(leaf: &Leaf) -> Option<String> {
    let subject = &leaf.parts.subject;
    let one_of_them = subject.iter().any(|(kind, value)| *kind == "O" && value == NODES);
    let name = subject
        .iter()
        .find_map(|(kind, value)| value.strip_prefix(NODE_PREFIX).filter(|_| *kind == "CN"))?;
    Some(name.to_owned()).filter(|name| one_of_them && is_node(name))
}

/// Finds the node's name elsewhere, never by the host name: a node may have another one, and a
/// certificate for the wrong name would impersonate another node.
fn elsewhere(root: &Root, user: &str, kubeconfig: &AbsolutePath) -> Result<String, String> {
    let flags = FLAGS
        .into_iter()
        .filter_map(|file| text(root, file))
        .find_map(|text| hostname_override(&text));
    let name = flags
        .or_else(|| of_process(root))
        .or_else(|| user.strip_prefix(NODE_PREFIX).map(str::to_owned));
    name.filter(|name| is_node(name)).ok_or_else(|| {
        format!(
            "the name of this node is not known: the old certificate can't be read, kubelet has no \
             {NAME_FLAG} (in {}), and the user in {kubeconfig} is not {NODE_PREFIX}NAME; add \
             {NAME_FLAG}=NAME to KUBELET_EXTRA_ARGS in {}, with the name that kubectl get nodes \
             shows",
            FLAGS.join(", "),
            FLAGS[0],
        )
    })
}

fn text(root: &Root, file: &str) -> Option<String> {
    let content = root.read(&AbsolutePath::new(file).ok()?, LARGEST_FILE).ok()?;
    Some(String::from_utf8_lossy(content.bytes.expose()).into_owned())
}

/// Returns the flags of a running kubelet, where this is the machine that it runs on.
fn of_process(root: &Root) -> Option<String> {
    let processes = root
        .is_host()
        .then(|| root.open_dir(std::path::Path::new("/proc")).and_then(|proc| proc.names()).ok())
        .flatten()?;
    let pids = processes.iter().filter_map(|name| name.to_str()?.parse::<u32>().ok());
    let mut lines = pids.filter(|pid| {
        text(root, &format!("/proc/{pid}/comm")).is_some_and(|name| name.trim() == "kubelet")
    });
    lines.find_map(|pid| {
        hostname_override(&text(root, &format!("/proc/{pid}/cmdline"))?.replace('\0', " "))
    })
}

/// Returns the last value. kubelet makes it lower case.
fn hostname_override(text: &str) -> Option<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words: Vec<&str> = lines
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')))
        .collect();
    let mut found = None;
    for (at, word) in words.iter().enumerate() {
        let Some((_, rest)) = word.split_once(NAME_FLAG) else { continue };
        let value = rest
            .strip_prefix('=')
            .or_else(|| rest.is_empty().then(|| words.get(at + 1).copied()).flatten());
        found = value.filter(|value| !value.is_empty()).map(str::to_lowercase).or(found);
    }
    found
}

/// Whether Kubernetes allows this name for a node (RFC 1123).
fn is_node(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn last_flag_is_used_in_either_form() {
        let found = |text: &str| hostname_override(text);
        assert_eq!(
            found(
                "KUBELET_KUBEADM_ARGS=\"--cgroup-driver=systemd --hostname-override=cp1 --v=2\"\n"
            ),
            Some("cp1".to_owned())
        );
        assert_eq!(
            found("A=--hostname-override=first --hostname-override Second.example"),
            Some("second.example".to_owned())
        );
        assert_eq!(found("# A=--hostname-override=old\nA=\"--node-ip=10.0.0.1\"\n"), None);
        assert_eq!(found("--hostname-override="), None);
    }

    #[test]
    fn name_of_no_node_is_none() {
        assert!(is_node("cp1") && is_node("cp-1.example.com") && is_node("10.0.0.1"));
        for name in ["", "Cp1", "-cp1", "cp1-", "a..b", "a b", "a:b", "a/b"] {
            assert!(!is_node(name), "{name:?}");
        }
    }

    /// Never by the host's name, which is there in both places.
    #[test]
    fn flag_precedes_the_user_and_nothing_is_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("etc/hostname", "guessed\n");
        put("proc/sys/kernel/hostname", "guessed\n");
        put("proc/7/comm", "kubelet\n");
        put("proc/7/cmdline", "kubelet\0--hostname-override=elsewhere\0");
        let root = Root::open(dir.path()).unwrap();
        let conf = AbsolutePath::constant("/etc/kubernetes/kubelet.conf");
        let trouble = elsewhere(&root, "default-auth", &conf).unwrap_err();
        assert!(
            trouble.contains("--hostname-override") && trouble.contains("KUBELET_EXTRA_ARGS"),
            "{trouble}"
        );
        assert_eq!(elsewhere(&root, "system:node:by-user", &conf), Ok("by-user".to_owned()));
        put(
            "var/lib/kubelet/kubeadm-flags.env",
            "KUBELET_KUBEADM_ARGS=\"--hostname-override=by-flag\"\n",
        );
        assert_eq!(elsewhere(&root, "system:node:by-user", &conf), Ok("by-flag".to_owned()));
        put("etc/default/kubelet", "KUBELET_EXTRA_ARGS=--hostname-override=by-operator\n");
        assert_eq!(elsewhere(&root, "system:node:by-user", &conf), Ok("by-operator".to_owned()));
    }
}

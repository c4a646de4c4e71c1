//! kubelet's own client certificate: how kubelet finds it, and the node that it is for, by the
//! files of this node.

mod settings;

use super::Catalog;
use super::lost::NO_API_SERVER;
use super::material::material;
use crate::credentials::{Files, Loaded, LoadedAuthority, ObservedFiles, load};
use crate::drivers::processes::{self, Process};
use crate::formats::kubeconfig::PemSource;
use crate::formats::x509::{NODE_PREFIX, NODES};
use crate::model::{
    AbsolutePath, Credential, CredentialFacts, KubeletClient, Leaf, Location, Material,
};
use crate::store::LARGEST_FILE;
use crate::sys::{FileError, Root};
pub(super) use settings::{FoundSettings, settings};

/// The files with kubelet's flags, as in kubeadm and its packages. The last value of a flag counts,
/// so the operator's file is first.
const FLAGS: [&str; 3] =
    ["/etc/default/kubelet", "/etc/sysconfig/kubelet", "/var/lib/kubelet/kubeadm-flags.env"];

const NAME_FLAG: &str = "--hostname-override";

/// kubelet's unit.
const UNIT: &str = "kubelet.service";

/// kubelet's name as a process.
const PROCESS: &str = "kubelet";

/// Returns the facts. `own` is the content of the file that kubelet.conf names, or would name.
pub(super) fn client(
    root: &ObservedFiles,
    facts: &CredentialFacts,
    kubeconfig: &AbsolutePath,
    authority: Option<&LoadedAuthority>,
    catalog: &Catalog,
) -> Option<KubeletClient> {
    let CredentialFacts { credential, material: own, .. } = facts;
    let rotation_off = catalog.rotation_off.clone();
    let text = match Files::read(root, kubeconfig) {
        Ok(Some(text)) => text,
        Ok(None) => return Some(without_kubeconfig(facts, kubeconfig, catalog)),
        Err(_) => return None,
    };
    let examined = root.examine_kubeconfig(&text);
    let user = &examined.as_ref().as_ref().ok()?.content.user;
    let embeds = matches!(user.client.certificate, PemSource::Embedded(_));
    let embedded = embeds.then(|| embedded(root, credential, kubeconfig, authority));
    let leaves = [own.leaf(), embedded.as_ref().and_then(Material::leaf)];
    let nameless = leaves.into_iter().flatten().next().map(|leaf| leaf.subject.clone());
    let user = user.name.as_str();
    let node = match leaves.into_iter().flatten().find_map(node_of) {
        Some(name) => {
            let mut found = vec![("the old certificate".to_owned(), name)];
            found.extend(by_user(user, kubeconfig));
            agreed(&found)
        }
        None => elsewhere(root, user, kubeconfig, nameless.as_deref()),
    };
    Some(KubeletClient { kubeconfig: kubeconfig.clone(), embedded, lost: None, rotation_off, node })
}

/// The facts where kubelet.conf does not exist. Only kubelet's own certificate then names the node:
/// a node that joined halfway has none. `kubeadm init` writes the server in the same way.
fn without_kubeconfig(
    facts: &CredentialFacts,
    kubeconfig: &AbsolutePath,
    catalog: &Catalog,
) -> KubeletClient {
    let server = match (&facts.other_writers, &catalog.api_server_url) {
        (Some(writers), _) => Err(format!("{}, so others than root could use it", writers.through)),
        (None, Some(url)) => Ok(url.clone()),
        (None, None) => Err(NO_API_SERVER.to_owned()),
    };
    let node = facts.material.leaf().and_then(node_of).ok_or_else(|| {
        format!(
            "the name of this node is not known: there is no old certificate of kubelet; make \
             {kubeconfig} again with kubeadm init phase kubeconfig kubelet, or join the node again"
        )
    });
    KubeletClient {
        kubeconfig: kubeconfig.clone(),
        embedded: None,
        lost: Some(server),
        rotation_off: catalog.rotation_off.clone(),
        node,
    }
}

fn embedded(
    root: &ObservedFiles,
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
    Some(name.to_owned()).filter(|name| one_of_them && is_node_name(name))
}

/// A name of this node, and where it is from.
type NodeName = (String, String);

/// Finds the node's name elsewhere, never by the host name: a node may have another one, and a
/// certificate for the wrong name would impersonate another node. What users other than root can
/// have written names no node. `nameless` is the subject of an old certificate that names none.
fn elsewhere(
    root: &Root,
    user: &str,
    kubeconfig: &AbsolutePath,
    nameless: Option<&str>,
) -> Result<String, String> {
    let not_known = |e: FileError| format!("the name of this node is not known: {e}");
    let mut found: Vec<NodeName> = by_flags(root).map_err(not_known)?.into_iter().collect();
    found.extend(by_processes(root));
    if let Some(name) = by_user(user, kubeconfig) {
        read_root_only(root, kubeconfig).map_err(not_known)?;
        found.push(name);
    }
    if found.is_empty() || found.iter().any(|(_, name)| !is_node_name(name)) {
        let certificate = match nameless {
            Some(subject) => format!("the old certificate names no node (it is for {subject})"),
            None => "there is no old certificate that can be read".to_owned(),
        };
        return Err(format!(
            "the name of this node is not known: {certificate}, kubelet has no {NAME_FLAG} (in \
             {}), and the user in {kubeconfig} is not {NODE_PREFIX}NAME; add \
             {NAME_FLAG}=NAME to KUBELET_EXTRA_ARGS in {}, with the name that kubectl get nodes \
             shows",
            FLAGS.join(", "),
            FLAGS[0],
        ));
    }
    agreed(&found)
}

/// The one name that all of these say.
fn agreed(found: &[NodeName]) -> Result<String, String> {
    let (first, rest) = found.split_first().ok_or("the name of this node is not known")?;
    if rest.iter().all(|(_, name)| *name == first.1) {
        return Ok(first.1.clone());
    }
    let all: Vec<String> = found.iter().map(|(place, name)| format!("{place}: {name}")).collect();
    Err(format!(
        "the name of this node is not known: there are several ({}); correct the wrong ones, by \
         the name that kubectl get nodes shows",
        all.join(", ")
    ))
}

/// The name in kubelet's flags; of several files the first, whose flags kubelet gets last.
fn by_flags(root: &Root) -> Result<Option<NodeName>, FileError> {
    let mut found = None;
    for file in FLAGS {
        // Every file is checked, whichever has the flag.
        let text = match read_root_only(root, &AbsolutePath::constant(file)) {
            Ok(text) => text,
            Err(e) if e.is_not_found() => continue,
            Err(e) => return Err(e),
        };
        let name = hostname_override(&text).map(|name| (format!("{NAME_FLAG} in {file}"), name));
        found = found.or(name);
    }
    Ok(found)
}

fn read_root_only(root: &Root, file: &AbsolutePath) -> Result<String, FileError> {
    let content = root.read_root_only(file, LARGEST_FILE)?;
    Ok(String::from_utf8_lossy(content.bytes.expose()).into_owned())
}

/// The name in the flags of a running kubelet, where this is the machine that it runs on.
fn by_processes(root: &Root) -> Vec<NodeName> {
    if root.is_host() { by_processes_of(root) } else { Vec::new() }
}

fn by_processes_of(root: &Root) -> Vec<NodeName> {
    let names = processes_of_unit(root).into_iter().filter_map(|process| {
        let line = process.command_line(root).ok()?.replace('\0', " ");
        Some((format!("{NAME_FLAG} of process {}", process.pid), hostname_override(&line)?))
    });
    names.collect()
}

/// The processes of kubelet's unit. A container can have a kubelet of its own.
fn processes_of_unit(root: &Root) -> Vec<Process> {
    let mut all = processes::of_root(root, PROCESS).unwrap_or_default();
    all.retain(|process| process.cgroup(root).is_ok_and(|cgroup| cgroup.is_of_service(UNIT)));
    all
}

/// The name of the user in kubelet.conf, where it is that of a node.
fn by_user(user: &str, kubeconfig: &AbsolutePath) -> Option<NodeName> {
    let name = user.strip_prefix(NODE_PREFIX)?;
    Some((format!("the user in {kubeconfig}"), name.to_owned()))
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
#[must_use]
pub fn is_node_name(name: &str) -> bool {
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
    use std::os::unix::fs::PermissionsExt as _;

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
        assert!(
            is_node_name("cp1") && is_node_name("cp-1.example.com") && is_node_name("10.0.0.1")
        );
        for name in ["", "Cp1", "-cp1", "cp1-", "a..b", "a b", "a:b", "a/b"] {
            assert!(!is_node_name(name), "{name:?}");
        }
    }

    /// A disk of a node, with files of root.
    struct Disk {
        dir: tempfile::TempDir,
        root: Root,
    }

    const FLAG_FILE: &str = "var/lib/kubelet/kubeadm-flags.env";

    impl Disk {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            let disk = Self { dir, root };
            disk.put("etc/kubernetes/kubelet.conf", "");
            disk
        }

        fn put(&self, file: &str, text: &str) {
            let path = self.dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn mode(&self, file: &str, mode: u32) {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(self.dir.path().join(file), mode).unwrap();
        }

        fn flag(&self, file: &str, name: &str) {
            self.put(file, &format!("ARGS=\"--hostname-override={name}\"\n"));
        }

        /// A process as /proc shows it.
        fn process(&self, pid: u32, name: &str, user: u32, cgroup: &str) {
            let put = |file: &str, text: &str| self.put(&format!("proc/{pid}/{file}"), text);
            put("stat", &format!("{pid} ({name}) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 42 9 10"));
            put("comm", &format!("{name}\n"));
            put("status", &format!("Name:\t{name}\nUid:\t{user}\t{user}\t{user}\t{user}\n"));
            put("cgroup", &format!("0::{cgroup}\n"));
            put("cmdline", &format!("{name}\0--hostname-override=by-process-{pid}\0"));
        }

        fn elsewhere(&self, user: &str) -> Result<String, String> {
            let conf = AbsolutePath::constant("/etc/kubernetes/kubelet.conf");
            elsewhere(&self.root, user, &conf, None)
        }
    }

    /// Never by the host's name, which is there in both places.
    #[test]
    fn flags_and_user_name_the_node_and_nothing_is_guessed() {
        let disk = Disk::new();
        disk.put("etc/hostname", "guessed\n");
        disk.put("proc/sys/kernel/hostname", "guessed\n");
        disk.process(7, "kubelet", 0, "/system.slice/kubelet.service");
        let trouble = disk.elsewhere("default-auth").unwrap_err();
        assert!(
            trouble.contains("--hostname-override") && trouble.contains("KUBELET_EXTRA_ARGS"),
            "{trouble}"
        );
        assert_eq!(disk.elsewhere("system:node:by-user"), Ok("by-user".to_owned()));
        assert!(disk.elsewhere("system:node:No_Node").is_err());
        disk.flag(FLAG_FILE, "by-flag");
        assert_eq!(disk.elsewhere("default-auth"), Ok("by-flag".to_owned()));
        assert_eq!(disk.elsewhere("system:node:by-flag"), Ok("by-flag".to_owned()));
        disk.flag("etc/default/kubelet", "by-operator");
        assert_eq!(disk.elsewhere("default-auth"), Ok("by-operator".to_owned()));
    }

    #[test]
    fn contradiction_of_node_names_is_an_error() {
        let disk = Disk::new();
        disk.flag(FLAG_FILE, "victim-node");
        assert_eq!(
            disk.elsewhere("system:node:cp1").unwrap_err(),
            "the name of this node is not known: there are several (--hostname-override in \
             /var/lib/kubelet/kubeadm-flags.env: victim-node, the user in \
             /etc/kubernetes/kubelet.conf: cp1); correct the wrong ones, by the name that kubectl \
             get nodes shows"
        );
    }

    #[test]
    fn file_writable_by_others_names_no_node() {
        for file in FLAGS {
            let disk = Disk::new();
            let file = file.trim_start_matches('/');
            disk.flag(file, "cp1");
            assert_eq!(disk.elsewhere("system:node:cp1"), Ok("cp1".to_owned()));
            disk.mode(file, 0o666);
            let trouble = disk.elsewhere("system:node:cp1").unwrap_err();
            let ending = format!("then chmod go-w /{file}");
            assert!(trouble.contains("has mode 0666") && trouble.ends_with(&ending), "{trouble}");
        }
        let disk = Disk::new();
        disk.mode("etc/kubernetes/kubelet.conf", 0o666);
        assert!(disk.elsewhere("system:node:cp1").unwrap_err().contains("has mode 0666"));
        disk.flag(FLAG_FILE, "cp1");
        assert_eq!(disk.elsewhere("default-auth"), Ok("cp1".to_owned()), "it names none");
    }

    #[test]
    fn only_kubelet_of_the_machine_names_its_node() {
        let disk = Disk::new();
        let service = "/system.slice/kubelet.service";
        let id = "0123456789abcdef".repeat(4);
        disk.process(2, "kubelet", 1000, service);
        disk.process(3, "kubelet", 0, "/user.slice/user-1000.slice/session-1.scope");
        disk.process(4, "kubelet", 0, &format!("/docker/{id}{service}"));
        disk.process(5, "kubelet", 0, &format!("{service}/kubepods/{id}"));
        disk.process(6, "kubelet-helper", 0, service);
        assert_eq!(by_processes_of(&disk.root), []);
        disk.process(7, "kubelet", 0, service);
        assert_eq!(
            by_processes_of(&disk.root),
            [("--hostname-override of process 7".to_owned(), "by-process-7".to_owned())]
        );
    }
}

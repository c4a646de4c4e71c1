//! The circumstances of a pass: whether another program is changing the node, or an operator asked
//! to wait.
//!
//! These are facts; the plan decides whether they defer a renewal.

use nix::sys::stat::{FileStat, SFlag};

use crate::drivers::processes::{self, Process};
use crate::model::{AbsolutePath, DeferralFacts, Digest, Timestamp};
use crate::settings::Settings;
use crate::state::{KeptRotation, read_hold};
use crate::store::LARGEST_FILE;
use crate::sys::{FileError, Root};

/// The circumstances of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The facts that may defer a renewal.
    pub deferral: DeferralFacts,
    /// Facts that could not be found out, each a sentence.
    pub notes: Vec<String>,
}

/// Reads the processes, the manifests and the hold file. A fact that can't be found out becomes a
/// note, and defers nothing.
#[must_use]
pub fn conditions(root: &Root, settings: &Settings) -> Conditions {
    let mut notes = Vec::new();
    // The disk of a stopped machine has no processes, and those of this machine are not its own.
    let kubeadm = if root.is_host() { noted(kubeadm(root), &mut notes).flatten() } else { None };
    let manifests =
        noted(manifests(root, &settings.paths.manifests), &mut notes).unwrap_or_default();
    let manifests = written_by_others(root, settings, manifests);
    let (asked, note) = read_hold(root, &settings.paths.state);
    notes.extend(note);
    Conditions { deferral: DeferralFacts { kubeadm, manifests, asked }, notes }
}

fn noted<T>(result: Result<T, FileError>, notes: &mut Vec<String>) -> Option<T> {
    result
        .map_err(|e| notes.push(format!("{e}; whether a renewal has to be deferred is not known")))
        .ok()
}

/// Returns the process id of a running kubeadm: a process of root outside of containers, which can
/// have a kubeadm of their own.
fn kubeadm(root: &Root) -> Result<Option<u32>, FileError> {
    let is_contained =
        |process: &Process| process.cgroup(root).map_or(true, |cgroup| cgroup.container.is_some());
    let mut found = processes::of_root(root, "kubeadm")?.into_iter();
    Ok(found.find(|process| !is_contained(process)).map(|process| process.pid))
}

/// Returns the files that kubelet takes for manifests: it ignores hidden ones, follows symlinks,
/// and accepts every other name.
fn manifests(root: &Root, dir: &AbsolutePath) -> Result<Vec<(AbsolutePath, Timestamp)>, FileError> {
    let names = match root.open_dir(dir.as_path()).and_then(|dir| dir.names()) {
        Ok(names) => names,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let names = names.iter().filter(|name| !name.as_encoded_bytes().starts_with(b"."));
    Ok(names
        .filter_map(|name| dir.join(name).ok())
        .filter_map(|path| changed(root, path))
        .collect())
}

/// Leaves out the manifest that kubecertd itself wrote during a rotation of the root CA.
fn written_by_others(
    root: &Root,
    settings: &Settings,
    mut manifests: Vec<(AbsolutePath, Timestamp)>,
) -> Vec<(AbsolutePath, Timestamp)> {
    let (kept, _) = KeptRotation::read(root, &settings.paths.state);
    if let Some(own) = kept.manifest {
        let digest = |file: &AbsolutePath| {
            let content = root.read(file, LARGEST_FILE).ok()?;
            Some(Digest::of(content.bytes.expose()).to_string())
        };
        manifests.retain(|(file, _)| digest(file).as_ref() != Some(&own));
    }
    manifests
}

/// Returns when a file was last changed; `None` when it is no file, or was removed.
fn changed(root: &Root, path: AbsolutePath) -> Option<(AbsolutePath, Timestamp)> {
    let stat = root.stat(&path).ok()??;
    is_file(&stat).then(|| (path, Timestamp::from_seconds(stat.st_mtime)))
}

fn is_file(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::model::Hold;
    use crate::state::write_hold;

    struct TestNode {
        dir: tempfile::TempDir,
        root: Root,
    }

    impl TestNode {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            Self { dir, root }
        }

        fn file(&self, path: &str, text: &str, seconds: u64) {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
                .unwrap();
        }

        fn process(&self, pid: u32, stat: &str, user: u32, cgroup: &str) {
            let rest = "1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 42 9 10";
            self.file(&format!("proc/{pid}/stat"), &format!("{pid} {stat} {rest}"), 0);
            let status = format!("Uid:\t{user}\t{user}\t{user}\t{user}\n");
            self.file(&format!("proc/{pid}/status"), &status, 0);
            self.file(&format!("proc/{pid}/cgroup"), &format!("0::{cgroup}\n"), 0);
        }

        fn kubeadm(&self) -> Option<u32> {
            kubeadm(&self.root).unwrap()
        }

        fn conditions(&self) -> Conditions {
            conditions(&self.root, &Settings::default())
        }
    }

    #[test]
    fn kubeadm_is_found_among_the_processes() {
        let node = TestNode::new();
        node.process(1, "(systemd) S", 0, "/init.scope");
        node.process(12, "(kubeadm-helper) S", 0, "/");
        node.process(13, "(a (kubeadm) S 1) R", 0, "/");
        node.process(14, "(kubeadm) Z", 0, "/");
        node.file("proc/15/stat", "torn", 0);
        node.file("proc/version", "99 (kubeadm) S 1", 0);
        fs::create_dir(node.dir.path().join("proc/16")).unwrap();
        assert_eq!(node.kubeadm(), None);
        node.process(17, "(kubeadm) S", 0, "/user.slice/user-0.slice/session-1.scope");
        assert_eq!(node.kubeadm(), Some(17));
    }

    #[test]
    fn kubeadm_of_a_user_or_a_container_defers_nothing() {
        let node = TestNode::new();
        node.process(17, "(kubeadm) S", 1000, "/user.slice/user-1000.slice/session-1.scope");
        let container = "0123456789abcdef".repeat(4);
        node.process(18, "(kubeadm) S", 0, &format!("/system.slice/docker-{container}.scope"));
        assert_eq!(node.kubeadm(), None);
    }

    #[test]
    fn proc_cmdline_format_is_parsed() {
        let host = Root::open(Path::new("/")).unwrap();
        let named = processes::of_root(&host, "kubeadm").unwrap();
        assert!(!named.iter().any(|process| process.pid == std::process::id()));
        let thread = std::thread::Builder::new().name("kubeadm".to_owned()).spawn(|| {
            let host = Root::open(Path::new("/")).unwrap();
            let stat = host.read(&AbsolutePath::constant("/proc/thread-self/stat"), 4096).unwrap();
            let node = TestNode::new();
            node.process(4711, "(replaced) S", 0, "/");
            node.file("proc/4711/stat", std::str::from_utf8(stat.bytes.expose()).unwrap(), 0);
            node.kubeadm()
        });
        assert_eq!(thread.unwrap().join().unwrap(), Some(4711));
    }

    #[test]
    fn processes_of_another_root_are_ignored() {
        let node = TestNode::new();
        node.process(17, "(kubeadm) S", 0, "/");
        assert_eq!(node.conditions(), Conditions::default());
    }

    #[test]
    fn manifests_are_recognised_as_kubelet_does() {
        let node = TestNode::new();
        node.file("etc/kubernetes/manifests/etcd.yaml", "x", 1_000);
        node.file("etc/kubernetes/manifests/api", "x", 2_000);
        node.file("etc/kubernetes/manifests/.hidden.yaml", "x", 3_000);
        node.file("etc/kubernetes/manifests/directory/inside.yaml", "x", 4_000);
        node.file("srv/real.yaml", "x", 5_000);
        let link = node.dir.path().join("etc/kubernetes/manifests/linked.yaml");
        std::os::unix::fs::symlink("/srv/real.yaml", link).unwrap();
        std::os::unix::fs::symlink(
            "/srv/gone.yaml",
            node.dir.path().join("etc/kubernetes/manifests/dangling.yaml"),
        )
        .unwrap();
        let found = node.conditions().deferral.manifests;
        let found: Vec<_> = found
            .iter()
            .map(|(path, at)| (path.as_path().file_name().unwrap().to_str().unwrap(), at.seconds()))
            .collect();
        assert_eq!(found, [("api", 2_000), ("etcd.yaml", 1_000), ("linked.yaml", 5_000)]);
    }

    #[test]
    fn hold_of_the_operator_is_found() {
        let node = TestNode::new();
        let asked = Hold { until: Timestamp::from_seconds(9), reason: "upgrade".to_owned() };
        write_hold(&node.root, &Settings::default().paths.state, &asked).unwrap();
        assert_eq!(node.conditions().deferral.asked, Some(asked));
    }

    #[test]
    fn unreadable_facts_are_reported() {
        let node = TestNode::new();
        node.file("etc/kubernetes/manifests", "not a directory", 0);
        node.file("var/lib/kubecertd/hold.json", "{}", 0);
        let Conditions { deferral, notes } = node.conditions();
        assert_eq!(deferral, DeferralFacts::default());
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("/etc/kubernetes/manifests: "), "{notes:?}");
        assert!(notes[1].starts_with("/var/lib/kubecertd/hold.json: "), "{notes:?}");
    }
}

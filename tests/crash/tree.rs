//! The node that is renewed: credentials of every kind, with all metadata that a file can have; and
//! the assertions that hold at every moment, and after the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use kubecertd::credentials::{LoadedAuthority, Stored, load_authority};
use kubecertd::formats::x509::{Certificate, PrivateKey, certificates, verify_renewed};
use kubecertd::model::AuthorityName;
use tempfile::TempDir;

use crate::common::requirements::{ROOT, require};
use crate::common::{ECDSA, Node, PKI, STATE, fixture, now, walk};

/// The ACL u::rw- g::--- g:4711:r-- m::r-- o::--- as the kernel encodes it.
const ACL_BYTES: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 0, 0, 255, 255, 255, 255, 8, 0, 4, 0, 103,
    18, 0, 0, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];
pub const ACCESS_ACL: &str = "system.posix_acl_access";

const DEFAULT_ACL: &str = "system.posix_acl_default";

/// As many backups as are kept: the first of them is due for removal.
const OLD_BACKUPS: [&str; 3] = ["20260101T000000Z", "20260102T000000Z", "20260103T000000Z"];

const KUBELET_CLIENT_CRT: &str = "apiserver-kubelet-client.crt";
const KUBELET_CLIENT_KEY: &str = "apiserver-kubelet-client.key";
/// The real path of that key.
const KUBELET_CLIENT_KEY_TARGET: &str = "srv/keys/kubelet-client.pem";
const BUNDLE: &str = "etc/proxy/proxy.pem";

/// Own entries: a bundle, and the CA that signs it.
const CONFIGURATION: &str = "[backups]\nkeep = 3\n[[ca]]\nname = \"proxy-ca\"\ncertificate \
    = \"/etc/proxy/ca.crt\"\nkey = \"/etc/proxy/ca.key\"\n\
    [[credential]]\nname = \"proxy\"\nca = \"proxy-ca\"\nbundle = \
    \"/etc/proxy/proxy.pem\"\n";

/// All files of the state directory while the program does not run.
const STATE_FILES: [&str; 9] = [
    "alarms.json",
    "alarms.lock",
    "backups",
    "journal",
    "lock",
    "certificates.json",
    "services.json",
    "set-aside",
    "state.json",
];

/// The metadata of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub mode: u32,
    pub owner: (u32, u32),
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    pub fn of(path: &Path) -> Self {
        let found = fs::symlink_metadata(path).unwrap();
        let value = |name: &std::ffi::OsStr| xattr::get(path, name).unwrap().unwrap();
        let attributes = xattr::list(path)
            .unwrap()
            .map(|name| (name.as_bytes().to_vec(), value(&name)))
            .collect();
        Self { mode: found.mode() & 0o7777, owner: (found.uid(), found.gid()), attributes }
    }

    /// Whether only the owner may read.
    pub fn is_private(&self) -> bool {
        self.mode & 0o077 == 0
    }
}

/// A node on which everything is due, and the properties that must be kept.
pub struct Tree {
    node: Node,
    /// Removed with the value.
    #[allow(dead_code, reason = "held, not used")]
    dir: TempDir,
    /// The files that a renewal replaces, by their real paths below the root.
    pub targets: BTreeMap<PathBuf, (Metadata, Vec<u8>)>,
    /// The files of each credential, by the names that backups use.
    changes: Vec<BTreeSet<PathBuf>>,
    links: BTreeMap<PathBuf, PathBuf>,
    old: BTreeMap<String, Stored>,
    issuers: BTreeMap<String, Certificate>,
}

/// A copy that a test may change.
pub struct TreeCopy {
    pub node: Node,
    /// Removed with the value.
    #[allow(dead_code, reason = "held, not used")]
    dir: TempDir,
}

impl Tree {
    /// Makes a node with one credential of each kind: a pair whose key is in another directory, a
    /// kubeconfig, a bundle.
    pub fn plain() -> Self {
        let names = [
            "ca.crt",
            "ca.key",
            "front-proxy-ca.crt",
            "front-proxy-ca.key",
            KUBELET_CLIENT_CRT,
            KUBELET_CLIENT_KEY,
        ];
        let wanted: BTreeSet<_> = names
            .map(|name| format!("{PKI}/{name}"))
            .into_iter()
            .chain(["etc/kubernetes/admin.conf".to_owned()])
            .collect();
        let files = Node::files_due().iter().filter(|(file, _)| wanted.contains(*file));
        Self::of(&files.map(|(file, content)| (file.clone(), content.clone())).collect())
    }

    /// The same with all metadata that a file can have, and with backups of which one is due for
    /// removal.
    pub fn small() -> Self {
        Self::plain().with_metadata_and_backups()
    }

    /// Makes a node with all credentials of kubeadm, a bundle, and the same metadata and backups.
    pub fn full() -> Self {
        Self::of(Node::files_due()).with_metadata_and_backups()
    }

    fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let TreeCopy { node, dir } = empty_tree();
        node.fill(files);
        let due = Node::files_due();
        let pair = ["front-proxy-client.key", "front-proxy-client.crt"]
            .map(|name| due[&format!("{PKI}/{name}")].clone());
        node.write(BUNDLE, pair.concat());
        for kind in ["crt", "key"] {
            node.write(
                &format!("etc/proxy/ca.{kind}"),
                &due[&format!("{PKI}/front-proxy-ca.{kind}")],
            );
        }
        node.write("etc/kubecertd/kubecertd.toml", CONFIGURATION);
        node.write(KUBELET_CLIENT_KEY_TARGET, "");
        let named = node.path(PKI).join(KUBELET_CLIENT_KEY);
        fs::rename(&named, node.path(KUBELET_CLIENT_KEY_TARGET)).unwrap();
        symlink(format!("/{KUBELET_CLIENT_KEY_TARGET}"), named).unwrap();
        let set = |file: &str, mode| {
            fs::set_permissions(node.path(file), fs::Permissions::from_mode(mode)).unwrap()
        };
        set(BUNDLE, 0o400);
        set("etc/proxy/ca.key", 0o600);
        set(&format!("{PKI}/{KUBELET_CLIENT_CRT}"), 0o640);
        chown(node.path(KUBELET_CLIENT_KEY_TARGET), Some(1234), Some(4321)).unwrap();
        Self::at(node, dir)
    }

    fn with_metadata_and_backups(self) -> Self {
        let Self { node, dir, changes, .. } = self;
        xattr::set(node.path(KUBELET_CLIENT_KEY_TARGET), "user.note", b"mine").unwrap();
        xattr::set(node.path("etc/kubernetes/admin.conf"), ACCESS_ACL, &ACL_BYTES).unwrap();
        xattr::set(node.path("etc/kubernetes/pki"), DEFAULT_ACL, &ACL_BYTES).unwrap();
        for file in changes.iter().flatten() {
            OLD_BACKUPS.iter().for_each(|name| add_backup(&node, name, file.to_str().unwrap()));
        }
        Self::at(node, dir)
    }

    /// The same, but expired.
    pub fn expired() -> Self {
        let Self { node, dir, .. } = Self::plain();
        node.age_all(-1);
        Self::at(node, dir)
    }

    /// The same with one old backup, which is due for removal.
    pub fn with_one_backup(self) -> Self {
        let Self { node, dir, changes, .. } = self;
        node.edit("etc/kubecertd/kubecertd.toml", "keep = 3", "keep = 1");
        changes
            .iter()
            .flatten()
            .for_each(|file| add_backup(&node, OLD_BACKUPS[0], file.to_str().unwrap()));
        Self::at(node, dir)
    }

    fn at(node: Node, dir: TempDir) -> Self {
        let old = node.usable_credentials();
        let root = fs::canonicalize(node.root()).unwrap();
        let mut targets = BTreeMap::new();
        let mut links = BTreeMap::new();
        let mut changes = Vec::new();
        for stored in old.values() {
            let mut files = BTreeSet::new();
            for source in stored.form.sources() {
                let named =
                    node.path(source.path.as_path().strip_prefix("/").unwrap().to_str().unwrap());
                let mut real = named.clone();
                if let Ok(target) = fs::read_link(&named) {
                    real = root.join(target.strip_prefix("/").unwrap());
                    links.insert(named.strip_prefix(&root).unwrap().to_owned(), target);
                }
                let shown = real.strip_prefix(&root).unwrap().to_owned();
                targets.insert(shown.clone(), (Metadata::of(&real), fs::read(&real).unwrap()));
                files.insert(named.strip_prefix(&root).unwrap().to_owned());
            }
            changes.push(files);
        }
        assert!(targets.len() >= 4 && links.len() == 1, "{targets:?}");
        let issuers = old.keys().map(|name| (name.clone(), issuer(&node, name))).collect();
        Self { node, dir, targets, changes, links, old, issuers }
    }

    pub fn root(&self) -> &Path {
        self.node.root()
    }

    pub fn copy(&self) -> TreeCopy {
        copy_of(&self.node)
    }

    /// Returns the number of renewed credentials.
    pub fn credentials(&self) -> usize {
        self.old.len()
    }

    /// Asserts what holds at every moment: a key is readable only by its owner, unless it was
    /// readable before; every target is a whole file; and a replaced content is in a backup.
    pub fn assert_invariants(&self, copy: &Node, case: &str) {
        let backups = copy.backups();
        for (target, (_, old)) in &self.targets {
            let content = fs::read(copy.path(target.to_str().unwrap()))
                .unwrap_or_else(|e| panic!("{case}: {}: {e}", target.display()));
            if content != *old {
                assert!(
                    is_whole(target, &content),
                    "{case}: {} is no whole file",
                    target.display()
                );
                assert!(
                    backups.contains(old),
                    "{case}: {} was replaced, and what it held is gone",
                    target.display()
                );
            }
        }
        self.assert_keys_private(copy, case);
    }

    /// See [`Self::assert_invariants`].
    pub fn assert_keys_private(&self, copy: &Node, case: &str) {
        walk(copy.root(), &mut |path| {
            let found = fs::symlink_metadata(path).unwrap();
            if found.is_file() && holds_key(&fs::read(path).unwrap()) {
                let metadata = Metadata::of(path);
                let place = target_of(path.strip_prefix(copy.root()).unwrap());
                let allowed =
                    self.targets.get(&place).is_some_and(|(before, _)| *before == metadata);
                assert!(
                    metadata.is_private() || allowed,
                    "{case}: {} can be read by others: {metadata:?}",
                    path.display()
                );
            }
            if path.starts_with(copy.path(STATE)) {
                assert_eq!(found.mode() & 0o077, 0, "{case}: {} is open to others", path.display());
            }
        });
    }

    /// Asserts that everything is renewed and valid, as if nothing had interrupted the renewal.
    pub fn assert_renewed(&self, copy: &Node, case: &str) {
        let present = copy.usable_credentials();
        assert_eq!(
            present.keys().collect::<Vec<_>>(),
            self.old.keys().collect::<Vec<_>>(),
            "{case}: not all are whole"
        );
        for (name, stored) in &present {
            let old = &self.old[name].certificate;
            assert_ne!(stored.certificate.serial, old.serial, "{case}: {name} is the old one");
            let verified = verify_renewed(&stored.certificate, old, &self.issuers[name], now());
            assert!(verified.is_ok(), "{case}: {name}: {verified:?}");
        }
        for (target, (metadata, _)) in &self.targets {
            assert_eq!(
                Metadata::of(&copy.root().join(target)),
                *metadata,
                "{case}: {}",
                target.display()
            );
        }
        for (link, target) in &self.links {
            assert_eq!(
                fs::read_link(copy.root().join(link)).ok().as_ref(),
                Some(target),
                "{case}: {}",
                link.display()
            );
        }
        self.assert_clean(copy, case);
        let check = copy.run(&["check"]);
        assert_eq!(check.code, 0, "{case}: {}", check.text);
    }

    /// Asserts that there are no new files outside the state directory, and only known ones in it.
    fn assert_clean(&self, copy: &Node, case: &str) {
        let names = |root: &Path| {
            let mut names = BTreeSet::new();
            walk(root, &mut |path| names.extend([path.strip_prefix(root).unwrap().to_owned()]));
            names
        };
        let before = names(self.root());
        for name in names(copy.root()).difference(&before) {
            match name.strip_prefix(STATE) {
                Ok(state) => {
                    let file = state
                        .components()
                        .next()
                        .map(|first| first.as_os_str().to_str().unwrap().to_owned());
                    assert!(
                        file.is_none_or(|file| STATE_FILES.contains(&file.as_str())),
                        "{case}: {} was left behind",
                        name.display()
                    );
                }
                Err(_) => assert!(
                    Path::new(STATE).starts_with(name),
                    "{case}: {} was left behind",
                    name.display()
                ),
            }
        }
        self.assert_backups_whole(copy, case);
    }

    /// Asserts that backups hold whole credentials: an incomplete one would later hide a complete
    /// one.
    fn assert_backups_whole(&self, copy: &Node, case: &str) {
        let Ok(generations) = fs::read_dir(copy.path(STATE).join("backups")) else { return };
        for generation in generations.map(|entry| entry.unwrap().path()) {
            let there = |file: &&PathBuf| generation.join(file).is_file();
            assert!(
                self.changes.iter().flatten().any(|file| there(&file)),
                "{case}: {} is empty",
                generation.display()
            );
            for files in &self.changes {
                let count = files.iter().filter(there).count();
                assert!(
                    count == 0 || count == files.len(),
                    "{case}: {} is not whole",
                    generation.display()
                );
            }
        }
    }

    /// Starts the program again, and asserts that it completes or repeats the renewal.
    pub fn restart_and_check(&self, copy: &Node, case: &str) {
        let run = copy.run(&["renew"]);
        assert_eq!(run.code, 0, "{case}: {}", run.text);
        // No credential is ever found damaged: each is the old one or the new one.
        let mut renewed = run.text.lines().filter(|line| line.starts_with("renewed"));
        assert!(renewed.all(|line| line.contains("expires in 10 days")), "{case}: {}", run.text);
        self.assert_renewed(copy, case);
        self.assert_keys_private(copy, case);
    }
}

/// Copies a node with all metadata.
pub fn copy_of(node: &Node) -> TreeCopy {
    let copy = empty_tree();
    let done = Command::new("cp")
        .arg("-a")
        .arg(node.root().join("."))
        .arg(copy.node.root())
        .status()
        .unwrap();
    assert!(done.success());
    copy
}

/// Makes an empty directory for a node: in memory if the file system supports all metadata, since
/// thousands of trees are made.
pub fn empty_tree() -> TreeCopy {
    static BASE_DIR: LazyLock<PathBuf> = LazyLock::new(|| {
        let memory = tempfile::tempdir_in("/dev/shm").ok();
        let good = memory.is_some_and(|dir| {
            xattr::set(dir.path(), "user.note", b"mine").is_ok()
                && xattr::set(dir.path(), DEFAULT_ACL, &ACL_BYTES).is_ok()
        });
        if good { "/dev/shm".into() } else { std::env::temp_dir() }
    });
    let dir = tempfile::tempdir_in(&*BASE_DIR).unwrap();
    TreeCopy { node: Node::at(fs::canonicalize(dir.path()).unwrap()), dir }
}

fn add_backup(node: &Node, name: &str, file: &str) {
    let copy = format!("{STATE}/backups/{name}/{file}");
    let real = fs::read_link(node.path(file))
        .map_or_else(|_| file.into(), |target| target.strip_prefix("/").unwrap().to_owned());
    node.write(&copy, node.read(real.to_str().unwrap()));
    fs::set_permissions(node.path(&copy), fs::Permissions::from_mode(0o600)).unwrap();
    for dir in Path::new(&copy).ancestors().skip(1).take_while(|dir| *dir != Path::new("var/lib")) {
        fs::set_permissions(node.root().join(dir), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

fn issuer(node: &Node, name: &str) -> Certificate {
    let observed = node.observe();
    let credential =
        observed.catalog.credentials.iter().find(|one| one.name.as_str() == name).unwrap();
    let is_it = |name: &AuthorityName| credential.authority.as_ref() == Some(name);
    let authority = observed.catalog.authorities.iter().find(|one| is_it(&one.name)).unwrap();
    match load_authority(&observed.root, authority) {
        LoadedAuthority::Present { anchors, .. } => anchors.candidate(now()).unwrap().clone(),
        _ => panic!("{name} has no authority"),
    }
}

pub fn holds_key(content: &[u8]) -> bool {
    // Most of the journal is zeros.
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(&content[..end]);
    text.contains("PRIVATE KEY") || text.contains("client-key-data")
}

/// Returns the target of a path, which may be a staged file beside it.
pub fn target_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    match name.strip_prefix('.').and_then(|name| name.split_once(".kubecertd-")) {
        Some((target, _)) => path.with_file_name(target),
        None => path.to_owned(),
    }
}

/// Whether the content of one file is complete on its own.
fn is_whole(target: &Path, content: &[u8]) -> bool {
    let text = String::from_utf8(content.to_vec()).unwrap();
    let certificate = || certificates(content).is_ok_and(|found| !found.is_empty());
    match target.to_str().unwrap() {
        name if name.ends_with(".crt") => certificate(),
        name if name.ends_with("proxy.pem") => {
            certificate() && PrivateKey::from_pem(content).is_ok()
        }
        name if name.ends_with(".conf") => {
            text.contains("client-certificate-data: ")
                && text.contains("client-key-data: ")
                && text.ends_with('\n')
        }
        _ => PrivateKey::from_pem(content).is_ok(),
    }
}

#[test]
fn trees_have_expected_content() {
    require!(ROOT);
    let (small, full) = (Tree::small(), Tree::full());
    assert_eq!((small.credentials(), small.targets.len()), (3, 4));
    assert_eq!(full.credentials(), 12);
    assert!(fixture(ECDSA).len() > 20);
    let acls = small
        .targets
        .values()
        .filter(|(metadata, _)| metadata.attributes.contains_key(ACCESS_ACL.as_bytes()));
    assert_eq!(acls.count(), 1);
}

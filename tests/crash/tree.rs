//! The node that is renewed: credentials of every kind, with all that a file can have besides its
//! content; and what has to be true of it at every moment, and after the next start.

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

use crate::common::{ECDSA, Node, PKI, STATE, fixture, now, walk};

/// u::rw- g::--- g:4711:r-- m::r-- o::--- in the kernel's own form.
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 0, 0, 255, 255, 255, 255, 8, 0, 4, 0, 103,
    18, 0, 0, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];
pub const ACCESS: &str = "system.posix_acl_access";

const DEFAULT: &str = "system.posix_acl_default";

/// As many as are kept: the first of them has to go.
const OLD_BACKUPS: [&str; 3] = ["20260101T000000Z", "20260102T000000Z", "20260103T000000Z"];

const KUBELET_CLIENT_CRT: &str = "apiserver-kubelet-client.crt";
const KUBELET_CLIENT_KEY: &str = "apiserver-kubelet-client.key";
/// Where that key really is.
const KUBELET_CLIENT_REAL_KEY: &str = "srv/keys/kubelet-client.pem";
const BUNDLE: &str = "etc/proxy/proxy.pem";

/// Own entries: a bundle, and the authority that signs it.
const CONFIGURATION: &str = "[backups]\nkeep = 3\n[[authority]]\nname = \"proxy-ca\"\ncertificate \
    = \"/etc/proxy/ca.crt\"\nkey = \"/etc/proxy/ca.key\"\n\
    [[credential]]\nname = \"proxy\"\nauthority = \"proxy-ca\"\nbundle = \
    \"/etc/proxy/proxy.pem\"\n";

/// All that is in the state folder when nobody is at work.
const STATE_FILES: [&str; 8] = [
    "alarms.json",
    "alarms.lock",
    "backups",
    "journal",
    "lock",
    "services.json",
    "set-aside",
    "state.json",
];

/// What a file has besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    pub mode: u32,
    pub owner: (u32, u32),
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Traits {
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

/// A node where everything is due, and what is to be kept of it.
pub struct Tree {
    node: Node,
    /// Goes away with the value.
    #[allow(dead_code, reason = "held, not used")]
    folder: TempDir,
    /// The files that a renewal replaces, by their real places below the root.
    pub targets: BTreeMap<PathBuf, (Traits, Vec<u8>)>,
    /// The files of each credential, by their names: in a backup they are found by these.
    changes: Vec<BTreeSet<PathBuf>>,
    links: BTreeMap<PathBuf, PathBuf>,
    old: BTreeMap<String, Stored>,
    issuers: BTreeMap<String, Certificate>,
}

/// A copy that a test may do with what it likes.
pub struct Copy {
    pub node: Node,
    /// Goes away with the value.
    #[allow(dead_code, reason = "held, not used")]
    folder: TempDir,
}

impl Tree {
    /// One of each kind: a pair whose key lies in another folder, a kubeconfig, a bundle.
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

    /// The same with all that a file can have besides its content, and with backups of which one
    /// has to go.
    pub fn small() -> Self {
        Self::plain().furnished()
    }

    /// All that kubeadm makes, a bundle, and the rest too.
    pub fn full() -> Self {
        Self::of(Node::files_due()).furnished()
    }

    fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let Copy { node, folder } = blank();
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
        node.write(KUBELET_CLIENT_REAL_KEY, "");
        let named = node.path(PKI).join(KUBELET_CLIENT_KEY);
        fs::rename(&named, node.path(KUBELET_CLIENT_REAL_KEY)).unwrap();
        symlink(format!("/{KUBELET_CLIENT_REAL_KEY}"), named).unwrap();
        let set = |file: &str, mode| {
            fs::set_permissions(node.path(file), fs::Permissions::from_mode(mode)).unwrap()
        };
        set(BUNDLE, 0o400);
        set("etc/proxy/ca.key", 0o600);
        set(&format!("{PKI}/{KUBELET_CLIENT_CRT}"), 0o640);
        chown(node.path(KUBELET_CLIENT_REAL_KEY), Some(1234), Some(4321)).unwrap();
        Self::at(node, folder)
    }

    fn furnished(self) -> Self {
        let Self { node, folder, changes, .. } = self;
        xattr::set(node.path(KUBELET_CLIENT_REAL_KEY), "user.note", b"mine").unwrap();
        xattr::set(node.path("etc/kubernetes/admin.conf"), ACCESS, &ACL).unwrap();
        xattr::set(node.path("etc/kubernetes/pki"), DEFAULT, &ACL).unwrap();
        for file in changes.iter().flatten() {
            OLD_BACKUPS.iter().for_each(|name| add_backup(&node, name, file.to_str().unwrap()));
        }
        Self::at(node, folder)
    }

    /// The same, but expired.
    pub fn expired() -> Self {
        let Self { node, folder, .. } = Self::plain();
        node.age_all(-1);
        Self::at(node, folder)
    }

    /// The same with one old backup, which has to go.
    pub fn with_a_backup(self) -> Self {
        let Self { node, folder, changes, .. } = self;
        node.edit("etc/kubecertd/kubecertd.toml", "keep = 3", "keep = 1");
        changes
            .iter()
            .flatten()
            .for_each(|file| add_backup(&node, OLD_BACKUPS[0], file.to_str().unwrap()));
        Self::at(node, folder)
    }

    fn at(node: Node, folder: TempDir) -> Self {
        let old = node.whole();
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
                targets.insert(shown.clone(), (Traits::of(&real), fs::read(&real).unwrap()));
                files.insert(named.strip_prefix(&root).unwrap().to_owned());
            }
            changes.push(files);
        }
        assert!(targets.len() >= 4 && links.len() == 1, "{targets:?}");
        let issuers = old.keys().map(|name| (name.clone(), issuer(&node, name))).collect();
        Self { node, folder, targets, changes, links, old, issuers }
    }

    pub fn root(&self) -> &Path {
        self.node.root()
    }

    pub fn copy(&self) -> Copy {
        let copy = blank();
        let done = Command::new("cp")
            .arg("-a")
            .arg(self.root().join("."))
            .arg(copy.node.root())
            .status()
            .unwrap();
        assert!(done.success());
        copy
    }

    /// How many credentials are renewed.
    pub fn credentials(&self) -> usize {
        self.old.len()
    }

    /// What holds at every moment: nobody but its owner reads a key, unless he could before; every
    /// target is a whole file; what was replaced is in a backup.
    pub fn holds_now(&self, copy: &Node, case: &str) {
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
        self.keys_are_private(copy, case);
    }

    /// See [`Self::holds_now`].
    pub fn keys_are_private(&self, copy: &Node, case: &str) {
        walk(copy.root(), &mut |path| {
            let found = fs::symlink_metadata(path).unwrap();
            if found.is_file() && holds_key(&fs::read(path).unwrap()) {
                let traits = Traits::of(path);
                let place = target_of(path.strip_prefix(copy.root()).unwrap());
                let allowed = self.targets.get(&place).is_some_and(|(before, _)| *before == traits);
                assert!(
                    traits.is_private() || allowed,
                    "{case}: {} can be read by others: {traits:?}",
                    path.display()
                );
            }
            if path.starts_with(copy.path(STATE)) {
                assert_eq!(found.mode() & 0o077, 0, "{case}: {} is open to others", path.display());
            }
        });
    }

    /// What holds after the next start: everything is renewed, right, and as if nothing had
    /// happened before.
    pub fn is_renewed(&self, copy: &Node, case: &str) {
        let now_there = copy.whole();
        assert_eq!(
            now_there.keys().collect::<Vec<_>>(),
            self.old.keys().collect::<Vec<_>>(),
            "{case}: not all are whole"
        );
        for (name, stored) in &now_there {
            let old = &self.old[name].certificate;
            assert_ne!(stored.certificate.serial, old.serial, "{case}: {name} is the old one");
            let verified = verify_renewed(&stored.certificate, old, &self.issuers[name], now());
            assert!(verified.is_ok(), "{case}: {name}: {verified:?}");
        }
        for (target, (traits, _)) in &self.targets {
            assert_eq!(
                Traits::of(&copy.root().join(target)),
                *traits,
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
        self.is_clean(copy, case);
        let check = copy.run(&["check"]);
        assert_eq!(check.code, 0, "{case}: {}", check.text);
    }

    /// Nothing is there that was not there before, but what belongs into the state folder.
    fn is_clean(&self, copy: &Node, case: &str) {
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
        self.backups_are_whole(copy, case);
    }

    /// A backup is of whole credentials: half a one would be found later in the place of a whole
    /// one.
    fn backups_are_whole(&self, copy: &Node, case: &str) {
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

    /// Starts the program again, which has to put everything right.
    pub fn next_start(&self, copy: &Node, case: &str) {
        let run = copy.run(&["renew"]);
        assert_eq!(run.code, 0, "{case}: {}", run.text);
        // Not even for a moment something has to be repaired: what is found is the old one or the
        // new one.
        let mut renewed = run.text.lines().filter(|line| line.starts_with("renewed"));
        assert!(renewed.all(|line| line.contains("expires in 10 days")), "{case}: {}", run.text);
        self.is_renewed(copy, case);
        self.keys_are_private(copy, case);
    }
}

/// A folder for a node: in memory, where that has all that is needed: thousands of trees are made,
/// and what is synced goes nowhere.
pub fn blank() -> Copy {
    static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
        let memory = tempfile::tempdir_in("/dev/shm").ok();
        let good = memory.is_some_and(|folder| {
            xattr::set(folder.path(), "user.note", b"mine").is_ok()
                && xattr::set(folder.path(), DEFAULT, &ACL).is_ok()
        });
        if good { "/dev/shm".into() } else { std::env::temp_dir() }
    });
    let folder = tempfile::tempdir_in(&*PLACE).unwrap();
    Copy { node: Node::at(fs::canonicalize(folder.path()).unwrap()), folder }
}

fn add_backup(node: &Node, name: &str, file: &str) {
    let copy = format!("{STATE}/backups/{name}/{file}");
    let real = fs::read_link(node.path(file))
        .map_or_else(|_| file.into(), |target| target.strip_prefix("/").unwrap().to_owned());
    node.write(&copy, node.read(real.to_str().unwrap()));
    fs::set_permissions(node.path(&copy), fs::Permissions::from_mode(0o600)).unwrap();
    for folder in
        Path::new(&copy).ancestors().skip(1).take_while(|folder| *folder != Path::new("var/lib"))
    {
        fs::set_permissions(node.root().join(folder), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

fn issuer(node: &Node, name: &str) -> Certificate {
    let observed = node.observed();
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
    // Nearly all of the journal is zeros.
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(&content[..end]);
    text.contains("PRIVATE KEY") || text.contains("client-key-data")
}

/// The target, also of a staged file beside it.
pub fn target_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    match name.strip_prefix('.').and_then(|name| name.split_once(".kubecertd-")) {
        Some((target, _)) => path.with_file_name(target),
        None => path.to_owned(),
    }
}

/// As far as one file alone can be judged.
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
fn the_nodes_have_what_is_claimed() {
    let (small, full) = (Tree::small(), Tree::full());
    assert_eq!((small.credentials(), small.targets.len()), (3, 4));
    assert_eq!(full.credentials(), 12);
    assert!(fixture(ECDSA).len() > 20);
    let acls = small
        .targets
        .values()
        .filter(|(traits, _)| traits.attributes.contains_key(ACCESS.as_bytes()));
    assert_eq!(acls.count(), 1);
}

//! Helpers of the integration tests: a control-plane node in a temporary directory, ways to damage
//! it, and runs of the real program on it. Assertions are in the tests.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod host;
pub mod keys;
pub mod kubelet;
pub mod requirements;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use kubecertd::credentials::{Stored, load, load_authority};
use kubecertd::formats::x509::{
    Certificate, PrivateKey, Terms, certificates, random_serial, reissue,
};
use kubecertd::model::{Credential, Renewal, Secret, Timestamp, days};
use kubecertd::observe::{self, Config};
use kubecertd::sys::{Clock as _, Root, SystemClock};
use tempfile::TempDir;

/// The files that kubeadm 1.20 wrote.
pub const RSA: &str = "kubeadm-1.20-rsa2048";
/// The files that kubeadm 1.36 wrote.
pub const ECDSA: &str = "kubeadm-1.36-ecdsa-p256";

/// The directory of the certificates.
pub const PKI: &str = "etc/kubernetes/pki";

/// The CA of the cluster, and its key.
pub const CA_CRT: &str = "etc/kubernetes/pki/ca.crt";
pub const CA_KEY: &str = "etc/kubernetes/pki/ca.key";
/// The other CAs that kubeadm makes, without the ends of their files.
pub const OTHER_CAS: [&str; 2] =
    ["etc/kubernetes/pki/front-proxy-ca", "etc/kubernetes/pki/etcd/ca"];

/// The CA of the front proxy, and its key.
pub const FRONT_CA_CRT: &str = "etc/kubernetes/pki/front-proxy-ca.crt";
pub const FRONT_CA_KEY: &str = "etc/kubernetes/pki/front-proxy-ca.key";

/// The state directory, which holds journal and backups.
pub const STATE: &str = "var/lib/kubecertd";

/// The files of a control-plane node.
pub struct Node {
    root: PathBuf,
    /// Removed with the value, for a node that was made for the test.
    _dir: Option<TempDir>,
}

/// The exit code of the program, and its output on both streams.
pub struct Run {
    pub code: i32,
    pub text: String,
}

impl Node {
    /// Makes an empty directory.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { root: dir.path().to_owned(), _dir: Some(dir) }
    }

    /// Uses an existing directory.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), _dir: None }
    }

    /// Makes a node as kubeadm left it: everything is fresh.
    pub fn fresh(tree: &str) -> Self {
        let node = Self::empty();
        node.fill(&fixture(tree));
        node
    }

    /// Makes the ECDSA node with everything due that is renewed here: ten days are left.
    pub fn due() -> Self {
        let node = Self::empty();
        node.fill(Self::files_due());
        node
    }

    /// Returns the files of [`Self::due`].
    pub fn files_due() -> &'static BTreeMap<String, Vec<u8>> {
        static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
            let node = Node::fresh(ECDSA);
            node.age_all(10);
            fixture(ECDSA).into_keys().map(|file| (file.clone(), node.read(&file))).collect()
        });
        &FILES
    }

    /// Writes files with the modes that kubeadm gives them.
    pub fn fill(&self, files: &BTreeMap<String, Vec<u8>>) {
        for (file, content) in files {
            let path = self.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let mode = if file.ends_with(".crt") || file.ends_with(".pub") { 0o644 } else { 0o600 };
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        self.backdate_manifests();
    }

    /// Dates the manifests back: a recent change of a manifest is a reason to defer a renewal.
    pub fn backdate_manifests(&self) {
        let manifests = fs::read_dir(self.path("etc/kubernetes/manifests"))
            .into_iter()
            .flatten()
            .map(Result::unwrap);
        for manifest in manifests.filter(|manifest| manifest.file_type().unwrap().is_file()) {
            let file = fs::File::options().append(true).open(manifest.path()).unwrap();
            file.set_modified(std::time::SystemTime::now() - days(1)).unwrap();
        }
    }

    /// Dates all files and directories back: a file that was written or removed recently is read
    /// again before it is repaired.
    pub fn backdate_files(&self) {
        let minute = std::time::SystemTime::now() - Duration::from_secs(60);
        walk(&self.path("etc"), &mut |path| {
            let found = fs::symlink_metadata(path).unwrap();
            let is_dated = found.is_file() || found.is_dir();
            if is_dated && found.modified().unwrap() > minute {
                fs::File::open(path).unwrap().set_modified(minute).unwrap();
            }
        });
    }

    /// Dates a directory back, as if nothing had been removed from it recently.
    pub fn backdate_dir(&self, dir: &str) {
        let minute = std::time::SystemTime::now() - Duration::from_secs(60);
        fs::File::open(self.path(dir)).unwrap().set_modified(minute).unwrap();
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of a file of the node.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root().join(file)
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }

    pub fn text(&self, file: &str) -> String {
        String::from_utf8(self.read(file)).unwrap()
    }

    /// Writes a file, and creates its directory when that is missing.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), content).unwrap();
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// Replaces a part of a text file, which must contain it.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.text(file);
        assert!(text.contains(from), "{file} has no {from:?}");
        self.write(file, text.replace(from, to));
        self.backdate_manifests();
    }

    /// Runs the program on this node.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let root = self.root().to_str().unwrap();
        kubecertd(&[&["--root", root], arguments].concat())
    }

    /// Reads settings, catalog and files as the program does.
    pub fn observe(&self) -> observe::Node {
        observe::Node::open(Root::open(self.root()).unwrap(), &Config::Usual).unwrap()
    }

    /// Returns the credentials of this node that kubecertd renews.
    pub fn managed_credentials(&self) -> Vec<Credential> {
        self.observe()
            .catalog
            .credentials
            .into_iter()
            .filter(|one| one.renewal == Renewal::Ours)
            .collect()
    }

    /// Returns every credential whose certificate has a fitting key, by its name.
    pub fn usable_credentials(&self) -> BTreeMap<String, Stored> {
        let root = Root::open(self.root()).unwrap();
        let pairs = self.managed_credentials().into_iter().filter_map(|credential| {
            let stored = load(&root, &credential).stored()?;
            let fits = read_key(&stored).is_some_and(|key| key.fits(&stored.certificate));
            fits.then(|| (credential.name.to_string(), stored))
        });
        pairs.collect()
    }

    /// Returns the certificate of a credential.
    pub fn certificate(&self, name: &str) -> Certificate {
        self.usable_credentials()
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is not whole"))
            .certificate
    }

    /// Reissues a credential with this many days left, and half a day more, so that reported days
    /// do not change during a test. Key and names are kept; dates and serial number change. A
    /// negative number makes it expired.
    pub fn age(&self, name: &str, days_left: i64) {
        self.age_seconds(name, days_to_seconds(days_left));
    }

    /// Does the same with seconds.
    pub fn age_seconds(&self, name: &str, seconds_left: i64) {
        let node = self.observe();
        let credential =
            node.catalog.credentials.iter().find(|one| one.name.as_str() == name).unwrap();
        let authority = node
            .catalog
            .authorities
            .iter()
            .find(|one| Some(&one.name) == credential.authority.as_ref())
            .unwrap();
        let loaded = load_authority(&node.root, authority);
        let Some((signing, key)) = loaded.signer(SystemClock.now()) else {
            panic!("the authority of {name} can't sign")
        };
        self.replace(credential, signing, key, &terms_with_seconds_left(seconds_left));
    }

    /// Reissues all credentials that are intact: see [`Self::age`].
    pub fn age_all(&self, days_left: i64) {
        self.age_all_seconds(days_to_seconds(days_left));
    }

    /// Does the same with seconds.
    pub fn age_all_seconds(&self, seconds_left: i64) {
        self.usable_credentials().keys().for_each(|name| self.age_seconds(name, seconds_left));
    }

    /// Has another issuer sign a credential, with `days_left` days left as for [`Self::age`].
    pub fn sign_with(&self, name: &str, issuer: &Certificate, key: &PrivateKey, days_left: i64) {
        let credential =
            self.managed_credentials().into_iter().find(|one| one.name.as_str() == name).unwrap();
        self.replace(&credential, issuer, key, &terms_with_days_left(days_left));
    }

    fn replace(
        &self,
        credential: &Credential,
        issuer: &Certificate,
        issuer_key: &PrivateKey,
        terms: &Terms,
    ) {
        let root = Root::open(self.root()).unwrap();
        let stored = load(&root, credential).stored().unwrap();
        let key = read_key(&stored).unwrap();
        let der = reissue(&stored.certificate, issuer, issuer_key, &key, terms).unwrap();
        let files =
            stored.compose(&Certificate::from_der(&der).unwrap(), &key.to_pem().unwrap()).unwrap();
        for file in files.files {
            let place = root.locate(&file.path).unwrap();
            self.write(
                place.path().strip_prefix("/").unwrap().to_str().unwrap(),
                file.content.expose(),
            );
        }
    }

    /// Reissues a CA, named by its files without their extensions, with `days_left` days left. Key
    /// and name are kept.
    pub fn shorten_authority(&self, stem: &str, days_left: i64) {
        let certificate = self.ca(stem);
        let key = PrivateKey::from_pem(&self.read(&format!("{stem}.key"))).unwrap();
        let der = reissue(&certificate, &certificate, &key, &key, &terms_with_days_left(days_left))
            .unwrap();
        self.write(&format!("{stem}.crt"), Certificate::from_der(&der).unwrap().to_pem());
    }

    /// The first certificate of a CA, whose file has this name without its end.
    pub fn ca(&self, stem: &str) -> Certificate {
        certificates(&self.read(&format!("{stem}.crt"))).unwrap().remove(0)
    }

    /// Lets the root CA expire in this many days, in ca.crt and in the kubeconfigs of kubeadm.
    pub fn expire_root(&self, days_left: i64) {
        use base64::Engine as _;
        let encoded = |node: &Self| base64::prelude::BASE64_STANDARD.encode(node.read(CA_CRT));
        let long = encoded(self);
        self.shorten_authority("etc/kubernetes/pki/ca", days_left);
        let short = encoded(self);
        for kubeconfig in fs::read_dir(self.path("etc/kubernetes")).unwrap() {
            let file = kubeconfig.unwrap().path();
            if file.extension().is_some_and(|end| end == "conf") {
                let text = fs::read_to_string(&file).unwrap();
                assert!(text.contains(&long), "{}", file.display());
                fs::write(&file, text.replace(&long, &short)).unwrap();
            }
        }
    }

    /// Lets all CAs that kubeadm makes expire in this many days.
    pub fn expire_cas(&self, days_left: i64) {
        self.expire_root(days_left);
        OTHER_CAS.iter().for_each(|stem| self.shorten_authority(stem, days_left));
    }

    /// Returns the hidden files. Only a transaction leaves such files.
    pub fn dot_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(self.root(), &mut |path| {
            if path != self.root() && path.file_name().unwrap().as_bytes().starts_with(b".") {
                found.push(path.to_owned());
            }
        });
        found
    }

    /// Records every file and directory with all that a write would change. The time of the last
    /// read is left out.
    pub fn snapshot(&self) -> Snapshot {
        let mut entries = BTreeMap::new();
        walk(self.root(), &mut |path| {
            let shown = path.strip_prefix(self.root()).unwrap().to_owned();
            entries.insert(shown, Entry::of(path));
        });
        Snapshot(entries)
    }

    /// Returns the contents of all backups.
    pub fn backups(&self) -> BTreeSet<Vec<u8>> {
        let mut contents = BTreeSet::new();
        let dir = self.path(STATE).join("backups");
        if dir.exists() {
            walk(&dir, &mut |path| {
                if path.is_file() {
                    contents.insert(fs::read(path).unwrap());
                }
            });
        }
        contents
    }
}

/// Runs the program.
pub fn kubecertd(arguments: &[&str]) -> Run {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_kubecertd"));
    let output = command.args(arguments).timeout(Duration::from_secs(180)).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Run {
        code: output.status.code().expect("it was killed"),
        text: String::from_utf8(text).unwrap(),
    }
}

/// Returns the files of a fixture, by their paths below its root.
pub fn fixture(tree: &str) -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(tree);
    let mut files = BTreeMap::new();
    walk(&root.join("etc"), &mut |path| {
        if path.is_file() {
            files.insert(
                path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
                fs::read(path).unwrap(),
            );
        }
    });
    files
}

pub fn now() -> Timestamp {
    SystemClock.now()
}

/// Returns terms with `days_left` days and half a day left, and a validity of one year.
pub fn terms_with_days_left(days_left: i64) -> Terms {
    terms_with_seconds_left(days_to_seconds(days_left))
}

fn days_to_seconds(days_left: i64) -> i64 {
    days_left * 86_400 + 43_200
}

fn terms_with_seconds_left(seconds_left: i64) -> Terms {
    let not_after = Timestamp::from_seconds(now().seconds() + seconds_left);
    Terms { serial: random_serial().unwrap(), not_before: not_after.minus(days(365)), not_after }
}

/// Returns the key of a credential, if it can be read.
pub fn read_key(stored: &Stored) -> Option<PrivateKey> {
    let contents: Vec<Secret> = stored
        .form
        .sources()
        .map(|source| source.content.clone().unwrap_or_else(|| Secret::new(Vec::new())))
        .collect();
    stored.read_back(&contents).ok().map(|(_, key)| key)
}

/// The files of a directory at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<PathBuf, Entry>);

/// A file, directory or other object. Two are equal when nothing was written in between.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub mode: u32,
    pub owner: (u32, u32),
    pub modified: (i64, i64),
    /// Also detects a file that was replaced by one with the same content.
    pub inode: u64,
    pub size: u64,
    pub content: Vec<u8>,
}

/// Leaves out the content, which may be a key or very long.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mode, owner, modified, inode, size, .. } = self;
        write!(f, "mode {mode:o} owner {owner:?} modified {modified:?} inode {inode} size {size}")
    }
}

impl Entry {
    fn of(path: &Path) -> Self {
        let found = fs::symlink_metadata(path).unwrap();
        let content = match found.file_type() {
            kind if kind.is_symlink() => {
                fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()
            }
            // Very long files are sparse.
            kind if kind.is_file() && found.len() < 10_000_000 => fs::read(path).unwrap(),
            _ => Vec::new(),
        };
        Self {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            modified: (found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
            size: found.len(),
            content,
        }
    }

    pub fn is_dir(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

impl Snapshot {
    /// Lists the differences to another snapshot, for the message of a failed test.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let changed = self.changed_paths(other).into_iter();
        changed
            .map(|path| {
                let [before, after] = [self, other].map(|snapshot| snapshot.0.get(&path));
                format!("{}: {before:?} became {after:?}", path.display())
            })
            .collect()
    }

    /// Lists the paths that are not the same in another snapshot.
    pub fn changed_paths(&self, other: &Self) -> Vec<PathBuf> {
        let paths: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let changed = paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path));
        changed.cloned().collect()
    }
}

/// Visits a directory and everything in it without following symlinks. Entries that a daemon
/// removes meanwhile are skipped.
pub fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) {
    let metadata = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
        found => found.unwrap(),
    };
    visit(path);
    if metadata.is_dir() {
        let mut entries: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| walk(entry, visit));
    }
}

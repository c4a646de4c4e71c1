//! What the integration tests share: a controller node in a folder of its own, what can be wrong
//! with it, and what the real program makes of it. What a test claims stands in the test.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod keys;
pub mod kubelet;

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

/// What kubeadm 1.20 wrote.
pub const RSA: &str = "kubeadm-1.20-rsa2048";
/// What kubeadm 1.36 wrote.
pub const ECDSA: &str = "kubeadm-1.36-ecdsa-p256";

/// Where the certificates are.
pub const PKI: &str = "etc/kubernetes/pki";

/// The folder of journal and backups.
pub const STATE: &str = "var/lib/kubecertd";

/// The files of a controller node.
pub struct Node {
    root: PathBuf,
    /// Goes away with the value, where the node was made for the test.
    _folder: Option<TempDir>,
}

/// What the program said, on either stream, and its exit code.
pub struct Run {
    pub code: i32,
    pub text: String,
}

impl Node {
    /// A folder without anything in it.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { root: folder.path().to_owned(), _folder: Some(folder) }
    }

    /// A node that is there already.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), _folder: None }
    }

    /// A node as kubeadm left it: everything is fresh.
    pub fn fresh(tree: &str) -> Self {
        let node = Self::empty();
        node.fill(&fixture(tree));
        node
    }

    /// The ECDSA node, where all that is renewed here is due: ten days are left.
    pub fn due() -> Self {
        let node = Self::empty();
        node.fill(Self::files_due());
        node
    }

    /// The files of [`Self::due`].
    pub fn files_due() -> &'static BTreeMap<String, Vec<u8>> {
        static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
            let node = Node::fresh(ECDSA);
            node.age_all(10);
            fixture(ECDSA).into_keys().map(|file| (file.clone(), node.read(&file))).collect()
        });
        &FILES
    }

    /// Puts files there, with the modes that kubeadm gives them.
    pub fn fill(&self, files: &BTreeMap<String, Vec<u8>>) {
        for (file, content) in files {
            let path = self.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let mode = if file.ends_with(".crt") || file.ends_with(".pub") { 0o644 } else { 0o600 };
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        self.settle();
    }

    /// Makes the manifests look as if nobody had changed them lately, which would be a reason to
    /// wait.
    pub fn settle(&self) {
        let manifests = fs::read_dir(self.path("etc/kubernetes/manifests"))
            .into_iter()
            .flatten()
            .map(Result::unwrap);
        for manifest in manifests.filter(|manifest| manifest.file_type().unwrap().is_file()) {
            let file = fs::File::options().append(true).open(manifest.path()).unwrap();
            file.set_modified(std::time::SystemTime::now() - days(1)).unwrap();
        }
    }

    /// Makes all files look as if nobody were writing them just now, which would be a reason to
    /// look again before anything is repaired.
    pub fn rest(&self) {
        let minute = std::time::SystemTime::now() - Duration::from_secs(60);
        walk(&self.path("etc"), &mut |path| {
            let is_file = fs::symlink_metadata(path).unwrap().is_file();
            if is_file && fs::metadata(path).unwrap().modified().unwrap() > minute {
                fs::File::options().append(true).open(path).unwrap().set_modified(minute).unwrap();
            }
        });
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file of the node is for the test.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root().join(file)
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }

    pub fn text(&self, file: &str) -> String {
        String::from_utf8(self.read(file)).unwrap()
    }

    /// Writes a file, with its folder where that is missing.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), content).unwrap();
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// Replaces a part of a text file, which has to be in it.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.text(file);
        assert!(text.contains(from), "{file} has no {from:?}");
        self.write(file, text.replace(from, to));
        self.settle();
    }

    /// Runs the program on this node.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let root = self.root().to_str().unwrap();
        kubecertd(&[&["--root", root], arguments].concat())
    }

    /// What the program itself would look at.
    pub fn observed(&self) -> observe::Node {
        observe::Node::open(Root::open(self.root()).unwrap(), &Config::Usual).unwrap()
    }

    /// The credentials of this node that kubecertd renews.
    pub fn ours(&self) -> Vec<Credential> {
        self.observed()
            .catalog
            .credentials
            .into_iter()
            .filter(|one| one.renewal == Renewal::Ours)
            .collect()
    }

    /// Every credential that has a certificate and a key that fits, by its name.
    pub fn whole(&self) -> BTreeMap<String, Stored> {
        let root = Root::open(self.root()).unwrap();
        let pairs = self.ours().into_iter().filter_map(|credential| {
            let stored = load(&root, &credential).stored()?;
            let fits = key_of(&stored).is_some_and(|key| key.fits(&stored.certificate));
            fits.then(|| (credential.name.to_string(), stored))
        });
        pairs.collect()
    }

    /// The certificate of a credential.
    pub fn certificate(&self, name: &str) -> Certificate {
        self.whole().remove(name).unwrap_or_else(|| panic!("{name} is not whole")).certificate
    }

    /// Gives a credential this many days to live, and half a day more, so that what is said of it
    /// is the same from one second to the next: same key, same names, other dates and serial
    /// number. Negative: expired.
    pub fn age(&self, name: &str, days_left: i64) {
        self.age_seconds(name, in_seconds(days_left));
    }

    /// The same, by the second.
    pub fn age_seconds(&self, name: &str, seconds_left: i64) {
        let node = self.observed();
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
        self.replace(credential, signing, key, &ending_in_seconds(seconds_left));
    }

    /// All that is there, but what is broken: see [`Self::age`].
    pub fn age_all(&self, days_left: i64) {
        self.age_all_seconds(in_seconds(days_left));
    }

    /// The same, by the second.
    pub fn age_all_seconds(&self, seconds_left: i64) {
        self.whole().keys().for_each(|name| self.age_seconds(name, seconds_left));
    }

    /// Has a credential signed by another issuer, with as many days left as for [`Self::age`].
    pub fn sign_with(&self, name: &str, issuer: &Certificate, key: &PrivateKey, days_left: i64) {
        let credential = self.ours().into_iter().find(|one| one.name.as_str() == name).unwrap();
        self.replace(&credential, issuer, key, &ending_in(days_left));
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
        let key = key_of(&stored).unwrap();
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

    /// Gives an authority, named by its files without their endings, this many days to live: same
    /// key, same name.
    pub fn shorten_authority(&self, stem: &str, days_left: i64) {
        let certificate = certificates(&self.read(&format!("{stem}.crt"))).unwrap().remove(0);
        let key = PrivateKey::from_pem(&self.read(&format!("{stem}.key"))).unwrap();
        let der = reissue(&certificate, &certificate, &key, &key, &ending_in(days_left)).unwrap();
        self.write(&format!("{stem}.crt"), Certificate::from_der(&der).unwrap().to_pem());
    }

    /// Hidden files, which only a transaction leaves.
    pub fn dot_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(self.root(), &mut |path| {
            if path != self.root() && path.file_name().unwrap().as_bytes().starts_with(b".") {
                found.push(path.to_owned());
            }
        });
        found
    }

    /// Every file and folder, with all that a write would change. The time of the last reading is
    /// left out.
    pub fn snapshot(&self) -> Snapshot {
        let mut entries = BTreeMap::new();
        walk(self.root(), &mut |path| {
            let shown = path.strip_prefix(self.root()).unwrap().to_owned();
            entries.insert(shown, Entry::of(path));
        });
        Snapshot(entries)
    }

    /// The contents of all backups.
    pub fn backups(&self) -> BTreeSet<Vec<u8>> {
        let mut contents = BTreeSet::new();
        let folder = self.path(STATE).join("backups");
        if folder.exists() {
            walk(&folder, &mut |path| {
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

/// The files of a fixture, below its root.
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

/// Terms of a certificate that was made a year before its end, which is half a day after these
/// days.
pub fn ending_in(days_left: i64) -> Terms {
    ending_in_seconds(in_seconds(days_left))
}

fn in_seconds(days_left: i64) -> i64 {
    days_left * 86_400 + 43_200
}

fn ending_in_seconds(seconds_left: i64) -> Terms {
    let not_after = Timestamp::from_seconds(now().seconds() + seconds_left);
    Terms { serial: random_serial().unwrap(), not_before: not_after.minus(days(365)), not_after }
}

/// The key of a credential, if it can be read.
pub fn key_of(stored: &Stored) -> Option<PrivateKey> {
    let contents: Vec<Secret> = stored
        .form
        .sources()
        .map(|source| source.content.clone().unwrap_or_else(|| Secret::new(Vec::new())))
        .collect();
    stored.read_back(&contents).ok().map(|(_, key)| key)
}

/// What was there at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<PathBuf, Entry>);

/// A file, folder or something else. Two are equal when nothing was written in between.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub mode: u32,
    pub owner: (u32, u32),
    pub modified: (i64, i64),
    /// Also tells a file that was replaced by one with the same content.
    pub inode: u64,
    pub size: u64,
    pub content: Vec<u8>,
}

/// Without the content, which may be a key or very long.
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
            // The very long ones are holes.
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

    pub fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

impl Snapshot {
    /// What is not the same in another, for the message of a failed test.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let paths: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differing = paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path));
        differing
            .map(|path| {
                format!("{}: {:?} became {:?}", path.display(), self.0.get(path), other.0.get(path))
            })
            .collect()
    }
}

/// The folder itself, then everything in it, symlinks not followed; but for what a daemon has taken
/// away meanwhile.
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

//! What the user puts in place of a file or directory, or into it.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use kubecertd::formats::x509::{KeyAlgorithm, PrivateKey};
use kubecertd::model::days;

use super::common::{Node, PKI, RSA, fixture};
use super::node::{
    PUBLIC_COPY, SECRET_DIR, TEMPLATE, TWIN, USER, copy_tree, kubeconfig_to, kubeconfig_with,
};

/// The part of the node that the user is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The file or directory itself.
    Itself,
    /// The directory that it is in, where the user can replace it.
    Directory,
}

/// What the user puts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Nothing: the file or directory only belongs to the user.
    Nothing,
    /// A symlink to this file of root's.
    LinkTo(&'static str),
    /// A hard link to this file of root's.
    HardLinkTo(&'static str),
    /// A symlink to a directory of root's.
    LinkToDir,
    /// A symlink to a directory of root's that has the same entries.
    SwappedDir,
    /// A symlink of root's to this file, which the user has moved there.
    MovedLinkTo(&'static str),
    /// A symlink of root's to a directory with the same entries, which the user has moved there.
    MovedLinkToDir,
    /// Symlinks to the files of the cluster's CA, in place of another CA's, whose credentials are
    /// replaced by a public certificate of the cluster's CA and a key of the user's own.
    LinksToClusterCa,
    /// Another file system; only root could mount it, or a setuid program that is tricked.
    Mount,
    Fifo,
    /// A sparse file of a terabyte.
    Huge,
    /// A certificate and key of another cluster.
    Foreign,
    /// The public certificate of another credential of the same CA, and a key of the user's own.
    PublicCertificate,
    /// A kubeconfig that refers to a public certificate, and to this file of root's as its key.
    KubeconfigTo(&'static str),
    /// A kubeconfig that refers to both files of another credential.
    KubeconfigToCredential,
    /// A kubeconfig that refers to a public certificate and a key of the user's own beside it.
    KubeconfigToOwnKey,
    /// A kubeconfig that refers to a public certificate, and to a symlink to this file of root's
    /// beside it.
    KubeconfigToLink(&'static str),
}

/// A private key of the user's own.
pub static OWN_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
    key.to_pem().unwrap().expose().to_vec()
});

/// The place where an object is put.
pub struct Place<'n> {
    pub node: &'n Node,
    /// The file or directory, below the root.
    pub path: &'n Path,
    pub given: Given,
}

impl Place<'_> {
    fn full(&self) -> PathBuf {
        self.node.root().join(self.path)
    }

    /// The path that the user controls, with all that is below.
    pub fn taken(&self) -> &Path {
        match self.given {
            Given::Itself => self.path,
            Given::Directory => self.path.parent().unwrap(),
        }
    }

    /// Gives the user what was chosen.
    pub fn give(&self) {
        lchown(self.node.root().join(self.taken()), Some(USER), Some(USER)).unwrap();
    }

    /// Moves the file or directory away, to make room.
    fn clear(&self) {
        let path = self.full();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::rename(&path, away(&path)).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            Err(_) => {}
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// Writes a file for the user: in place where only the file was given, else as a new one.
    fn write(&self, file: &Path, content: &[u8]) {
        let path = self.node.root().join(file);
        if self.given == Given::Directory {
            let _ = fs::remove_file(&path);
        }
        fs::write(&path, content).unwrap();
        self.own(&path);
    }

    /// Makes the user the owner of something that the user has just made.
    fn own(&self, path: &Path) {
        lchown(path, Some(USER), Some(USER)).unwrap();
        if fs::symlink_metadata(path).unwrap().is_file() {
            let file = fs::File::options().append(true).open(path).unwrap();
            // What was written just now is read again later.
            file.set_modified(SystemTime::now() - days(1)).unwrap();
        }
    }

    fn link_to(&self, target: &str, owner: u32) {
        self.clear();
        symlink(format!("/{target}"), self.full()).unwrap();
        lchown(self.full(), Some(owner), Some(owner)).unwrap();
    }

    /// The file, and the others of the same credential that the user can replace.
    pub fn files(&self) -> Vec<PathBuf> {
        let files = TEMPLATE.credential_of(self.path).map(|one| one.files.clone());
        let beside = files.unwrap_or_default().into_iter().filter(|file| {
            // A kubeconfig that refers to the others stays as it is.
            let is_referring = file.extension().is_some_and(|kind| kind == "conf");
            let is_writable = self.given == Given::Directory && file.starts_with(self.taken());
            is_writable && !is_referring && self.node.root().join(file).is_file()
        });
        beside.chain([self.path.to_owned()]).collect()
    }

    /// Writes certificate and key of the user's own into these files.
    fn write_credential(&self, certificate: &[u8], key: &[u8]) {
        for file in self.files() {
            let content = match file.extension().and_then(|kind| kind.to_str()) {
                Some("key") => key.to_vec(),
                Some("crt") => certificate.to_vec(),
                Some("pem") => [certificate, key].concat(),
                _ => kubeconfig_with(certificate, key).into_bytes(),
            };
            self.write(&file, &content);
        }
    }
}

/// Where a directory is moved to.
fn away(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}-away", path.file_name().unwrap().to_str().unwrap()))
}

impl Object {
    /// Prepares a node, before the pass, for an object that is put there later.
    pub fn prepare(self, place: &Place<'_>) {
        if matches!(self, Self::SwappedDir | Self::MovedLinkToDir) {
            let twin = place.node.path(TWIN);
            fs::create_dir(&twin).unwrap();
            copy_tree(&place.full(), &twin);
            chown(&twin, Some(0), Some(0)).unwrap();
            fs::set_permissions(&twin, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Puts the object there.
    pub fn plant(self, place: &Place<'_>) {
        let path = place.full();
        match self {
            // A mount is made in the mount namespace of the pass.
            Self::Nothing | Self::Mount => {}
            Self::LinkTo(target) => place.link_to(target, USER),
            Self::LinkToDir => place.link_to(SECRET_DIR, USER),
            Self::SwappedDir => place.link_to(TWIN, USER),
            Self::MovedLinkTo(target) => place.link_to(target, 0),
            Self::MovedLinkToDir => place.link_to(TWIN, 0),
            Self::HardLinkTo(target) => {
                place.clear();
                fs::hard_link(place.node.path(target), &path).unwrap();
            }
            Self::LinksToClusterCa => {
                for kind in ["crt", "key"] {
                    let link = path.with_extension(kind);
                    fs::remove_file(&link).unwrap();
                    symlink(format!("/{PKI}/ca.{kind}"), &link).unwrap();
                    place.own(&link);
                }
                let public = TEMPLATE.node.read(PUBLIC_COPY);
                let signed = TEMPLATE.credentials.iter().filter(|one| {
                    one.authority_files.contains(place.path)
                        && one.files.iter().all(|file| file.starts_with(place.taken()))
                });
                for file in signed.flat_map(|one| &one.files) {
                    Place { path: file, ..*place }.write_credential(&public, &OWN_KEY);
                }
            }
            Self::Fifo => {
                place.clear();
                nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
                place.own(&path);
            }
            Self::Huge => {
                place.write(place.path, b"");
                fs::File::options().append(true).open(&path).unwrap().set_len(1 << 40).unwrap();
                place.own(&path);
            }
            Self::Foreign => {
                let foreign = fixture(RSA);
                let of = |kind: &str| {
                    let same = place.path.with_extension(kind);
                    let same = foreign.get(same.to_str().unwrap());
                    same.unwrap_or(&foreign[&format!("{PKI}/apiserver.{kind}")]).clone()
                };
                place.write_credential(&of("crt"), &of("key"));
            }
            Self::PublicCertificate => {
                place.write_credential(&public_certificate(place.path), &OWN_KEY);
            }
            Self::KubeconfigTo(target) => {
                let kubeconfig = kubeconfig_to(&format!("/{PUBLIC_COPY}"), &format!("/{target}"));
                place.write(place.path, kubeconfig.as_bytes());
            }
            Self::KubeconfigToOwnKey | Self::KubeconfigToLink(_) => {
                let [certificate, key] = ["user.crt", "user.key"].map(|name| place.beside(name));
                place.write(&certificate, &place.node.read(PUBLIC_COPY));
                if let Self::KubeconfigToLink(target) = self {
                    let link = Place { path: &key, ..*place };
                    link.link_to(target, USER);
                } else {
                    place.write(&key, &OWN_KEY);
                }
                place.write(place.path, kubeconfig_to("user.crt", "user.key").as_bytes());
            }
            Self::KubeconfigToCredential => {
                let [certificate, key] =
                    ["crt", "key"].map(|kind| format!("/{PKI}/apiserver.{kind}"));
                place.write(place.path, kubeconfig_to(&certificate, &key).as_bytes());
            }
        }
    }
}

/// Removes a symlink to a directory, and moves the directory to its old place.
pub fn undo_swap(place: &Place<'_>) {
    let path = place.full();
    if away(&path).exists() {
        fs::remove_file(&path).unwrap();
        fs::rename(away(&path), &path).unwrap();
    }
}

/// The public certificate of another credential of the same CA, where there is one.
fn public_certificate(path: &Path) -> Vec<u8> {
    let own = TEMPLATE.credential_of(path);
    let is_other = |name: &str| own.is_none_or(|own| own.name != name);
    let is_same_ca = |files| own.is_none_or(|own| own.authority_files == files);
    let public = ["apiserver-kubelet-client", "apiserver", "etcd/healthcheck-client", "etcd/peer"];
    let found = public.iter().find(|name| {
        let other = TEMPLATE.credentials.iter().find(|one| one.name == **name).unwrap();
        is_other(name) && is_same_ca(other.authority_files.clone())
    });
    TEMPLATE.node.read(&format!("{PKI}/{}.crt", found.unwrap_or(&public[0])))
}

/// The kind of an object is that without the file that it leads to.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Nothing => "nothing",
            Self::LinkTo(target) => return write!(f, "symlink to {target}"),
            Self::HardLinkTo(target) => return write!(f, "hard link to {target}"),
            Self::LinkToDir => "symlink to a directory of root's",
            Self::SwappedDir => "directory swapped for a symlink",
            Self::MovedLinkTo(target) => return write!(f, "moved symlink to {target}"),
            Self::MovedLinkToDir => "directory swapped for a moved symlink",
            Self::LinksToClusterCa => "symlinks to the cluster's CA",
            Self::Mount => "mount",
            Self::Fifo => "FIFO",
            Self::Huge => "huge file",
            Self::Foreign => "foreign certificate and key",
            Self::PublicCertificate => "public certificate and own key",
            Self::KubeconfigTo(target) => return write!(f, "kubeconfig with key to {target}"),
            Self::KubeconfigToOwnKey => "kubeconfig that refers to own key",
            Self::KubeconfigToLink(target) => {
                return write!(f, "kubeconfig with linked key to {target}");
            }
            Self::KubeconfigToCredential => "kubeconfig that refers to another credential",
        };
        f.write_str(text)
    }
}

impl Object {
    /// The kind, for the count.
    pub fn kind(self) -> String {
        let text = self.to_string();
        text.split(" to ").next().unwrap().to_owned()
    }
}

//! The node that each combination gets a copy of: every credential of kubeadm and own entries of
//! every form are due, and root has files that nothing may touch.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kubecertd::formats::x509::{Certificate, PrivateKey, certificates};
use kubecertd::model::{AbsolutePath, days};
use tempfile::TempDir;

use super::common::kubelet::{NODE_NAME, PKI_DIR};
use super::common::{Node, PKI, RSA, STATE, fixture, walk};

/// The ordinary user.
pub const USER: u32 = 4242;
/// A file of root's that is no certificate.
pub const SECRET: &str = "etc/victim/secret";
/// Its content.
pub const SECRET_TEXT: &str = "the-secret-of-root";
/// A directory of root's.
pub const SECRET_DIR: &str = "etc/victim";
/// A directory of root's with the same entries as one that the user swaps for a symlink to it.
pub const TWIN: &str = "etc/victim/twin";
/// A copy of admin.conf.
pub const COPY: &str = "srv/copy/config";
/// A public certificate in the user's home directory: a copy of one that the CA signed.
pub const PUBLIC_COPY: &str = "home/user/public.crt";
pub const PID_FILE: &str = "srv/service/app.pid";
/// The directories that only root may write: of configuration, state and status.
pub const OWN_DIRS: [&str; 3] = ["etc/kubecertd", STATE, "run/kubecertd"];

const CONFIGURATION: &str = r#"
[[credential]]
name = "pair"
ca = "ca"
certificate = "/srv/app/pair.crt"
key = "/srv/app/private/pair.key"
[[credential]]
name = "bundle"
ca = "ca"
bundle = "/srv/app/bundle.pem"
[[credential]]
name = "client"
ca = "ca"
kubeconfig = "/srv/app/client.conf"
[[credential]]
name = "referring"
ca = "ca"
kubeconfig = "/srv/app/referring.conf"
[[copy]]
of = "admin.conf"
kubeconfig = "/srv/copy/config"
[[ca]]
name = "away-ca"
certificate = "/srv/away/ca.crt"
key = "/srv/away/ca.key"
[[credential]]
name = "away"
ca = "away-ca"
certificate = "/srv/away/away.crt"
key = "/srv/away/away.key"
[[service]]
name = "app"
pid_file = "/srv/service/app.pid"
signal = "HUP"
uses = [{ credential = "admin.conf", takes = "restart" }]
"#;

/// A profile that takes the place of the built-in one, and says the same.
const PROFILE: &str = include_str!("../../config/profiles/kubeadm.toml");

/// A kubeconfig up to the certificate and key of its user.
const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: here
clusters:
- name: here
  cluster:
    server: https://127.0.0.1:6443
contexts:
- name: here
  context:
    cluster: here
    user: app
users:
- name: app
  user:
";

/// A credential that a pass renews when nothing is hostile.
pub struct Managed {
    pub name: String,
    /// The files of certificate and key, and the kubeconfig that refers to them.
    pub files: BTreeSet<PathBuf>,
    /// The files of its CA.
    pub authority_files: BTreeSet<PathBuf>,
    pub old: Certificate,
}

impl Managed {
    /// Whether a user who controls this file or directory controls a part of it or of its CA.
    pub fn depends_on(&self, taken: &Path) -> bool {
        self.has_part_in(taken) || self.authority_files.iter().any(|file| file.starts_with(taken))
    }

    /// Whether a user who controls this file or directory controls a part of it.
    pub fn has_part_in(&self, taken: &Path) -> bool {
        self.files.iter().any(|file| file.starts_with(taken) || taken.starts_with(file))
    }

    /// Whether a certificate is for the same subject and names, from the same CA.
    pub fn is_for(&self, certificate: &Certificate) -> bool {
        identity(certificate) == identity(&self.old)
    }
}

/// The credential that a file belongs to. A copy belongs to its original.
pub fn owner_of(path: &Path) -> Option<&'static Managed> {
    let original = Path::new("etc/kubernetes/admin.conf");
    TEMPLATE.credential_of(if path == Path::new(COPY) { original } else { path })
}

/// The subject, names and issuer of a certificate. Its signature says which CA signed it.
pub fn identity(certificate: &Certificate) -> String {
    let signer = TEMPLATE.authorities.iter().find(|(_, one)| certificate.is_signed_by(one));
    let signer = signer.map_or("a CA of another node", |(file, _)| file.as_str());
    format!("{:?} {:?} by {signer}", certificate.subject.parts(), certificate.names())
}

pub struct Template {
    #[allow(dead_code, reason = "held, not used")]
    dir: TempDir,
    pub node: Node,
    pub credentials: Vec<Managed>,
    /// The CA certificates, by their files.
    authorities: Vec<(String, Certificate)>,
}

pub static TEMPLATE: LazyLock<Template> = LazyLock::new(Template::make);

/// A copy of the template.
pub struct NodeCopy {
    #[allow(dead_code, reason = "held, not used")]
    dir: TempDir,
    pub node: Node,
}

/// Makes an empty directory, in memory where possible: hundreds are made, and every renewal waits
/// for the disk.
fn empty() -> (TempDir, Node) {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(base).unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, Node::at(root))
}

impl Template {
    fn make() -> Self {
        let (dir, node) = empty();
        node.fill(Node::files_due());
        node.add_kubelet_certificate(-1);
        node.link_kubelet_conf();
        add_own_entries(&node);
        node.write(SECRET, SECRET_TEXT);
        node.write(PUBLIC_COPY, node.read(&format!("{PKI}/apiserver-kubelet-client.crt")));
        node.write("run/.keep", "");
        node.write(PID_FILE, "");
        make_private(&node);
        for path in ["home/user", PUBLIC_COPY] {
            chown(node.path(path), Some(USER), Some(USER)).unwrap();
        }
        // These leave state, a backup and a request, which the next pass reads.
        for command in [&["renew", "--force", "super-admin.conf"][..], &["csr", "away"]] {
            let run = node.run(command);
            assert_eq!(run.code, 0, "{}", run.text);
        }
        node.age("super-admin.conf", 10);
        backdate(&node);
        let credentials = managed(&node);
        assert_eq!(credentials.len(), 16, "11 of kubeadm, 4 own ones and kubelet's");
        let authorities = ["ca", "front-proxy-ca", "etcd/ca"].map(|stem| {
            let file = format!("{PKI}/{stem}.crt");
            let certificate = certificates(&node.read(&file)).unwrap().remove(0);
            (file, certificate)
        });
        Self { dir, node, credentials, authorities: authorities.to_vec() }
    }

    pub fn copy(&self) -> NodeCopy {
        let (dir, node) = empty();
        copy_tree(self.node.root(), node.root());
        NodeCopy { dir, node }
    }

    /// Returns the credential that has this file.
    pub fn credential_of(&self, file: &Path) -> Option<&Managed> {
        self.credentials.iter().find(|one| one.files.iter().any(|own| file.starts_with(own)))
    }
}

/// Copies everything in a directory into another one, with owners and modes.
pub fn copy_tree(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(done.success());
}

/// Dates all files back: what was written recently is read again later, and a recent manifest
/// defers a renewal.
fn backdate(node: &Node) {
    let yesterday = SystemTime::now() - days(1);
    walk(node.root(), &mut |path| {
        if fs::symlink_metadata(path).unwrap().is_file() {
            let file = fs::File::options().append(true).open(path).unwrap();
            file.set_modified(yesterday).unwrap();
        }
    });
}

fn add_own_entries(node: &Node) {
    let script = "set -e; ca=../../etc/kubernetes/pki; mkdir private
        for name in pair bundle client referring; do
          openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=app-$name \
            -keyout $name.key -out $name.csr 2>/dev/null
          printf 'keyUsage=critical,digitalSignature\\nextendedKeyUsage=serverAuth,clientAuth\\n\
        subjectAltName=DNS:%s.example.com\\n' $name >ext
          openssl x509 -req -in $name.csr -CA $ca/ca.crt -CAkey $ca/ca.key -days 300 \
            -extfile ext -out $name.crt 2>/dev/null
        done
        cat bundle.crt bundle.key >bundle.pem
        mv pair.key private/
        rm -f bundle.crt bundle.key *.csr ext $ca/ca.srl";
    fs::create_dir_all(node.path("srv/app")).unwrap();
    let run =
        Command::new("sh").args(["-c", script]).current_dir(node.path("srv/app")).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    node.write("etc/kubecertd/kubecertd.toml", CONFIGURATION);
    node.write("etc/kubecertd/profiles/kubeadm.toml", PROFILE);
    let admin = node.text("etc/kubernetes/admin.conf");
    let [certificate, key] = ["crt", "key"].map(|kind| format!("srv/app/client.{kind}"));
    let client = kubeconfig_with(&node.read(&certificate), &node.read(&key));
    node.write("srv/app/client.conf", client);
    [certificate, key].iter().for_each(|file| node.remove(file));
    node.write("srv/copy/config", &admin);
    node.write("srv/app/referring.conf", kubeconfig_to("referring.crt", "referring.key"));
    // Of a CA whose key is not on this node.
    let elsewhere = fixture(RSA);
    for (from, to) in [
        ("front-proxy-ca.crt", "ca.crt"),
        ("front-proxy-client.crt", "away.crt"),
        ("front-proxy-client.key", "away.key"),
    ] {
        node.write(&format!("srv/away/{to}"), &elsewhere[&format!("{PKI}/{from}")]);
    }
    ["pair", "bundle", "client", "referring"].iter().for_each(|name| node.age(name, 10));
}

/// Returns a kubeconfig whose user is in two other files.
pub fn kubeconfig_to(certificate: &str, key: &str) -> String {
    format!("{KUBECONFIG}    client-certificate: {certificate}\n    client-key: {key}\n")
}

/// Returns a kubeconfig that embeds certificate and key.
pub fn kubeconfig_with(certificate: &[u8], key: &[u8]) -> String {
    let [certificate, key] = [certificate, key].map(|text| BASE64_STANDARD.encode(text));
    format!("{KUBECONFIG}    client-certificate-data: {certificate}\n    client-key-data: {key}\n")
}

/// Only root may read keys, as on any node.
fn make_private(node: &Node) {
    for dir in ["srv", SECRET_DIR, "var/lib/kubelet", "etc/kubernetes"] {
        walk(&node.path(dir), &mut |path| {
            let found = fs::symlink_metadata(path).unwrap();
            let is_public = path.extension().is_some_and(|kind| kind == "crt" || kind == "pub");
            let mode = if found.is_dir() || is_public { 0o755 } else { 0o600 };
            if !found.is_symlink() {
                fs::set_permissions(
                    path,
                    fs::Permissions::from_mode(mode & (found.mode() | 0o700)),
                )
                .unwrap();
            }
        });
    }
}

fn managed(node: &Node) -> Vec<Managed> {
    let catalog = node.observe().catalog;
    let relative = |path: &AbsolutePath| path.as_path().strip_prefix("/").unwrap().to_owned();
    let mut managed: Vec<_> = Vec::new();
    for (name, stored) in node.usable_credentials() {
        let credential = catalog.credentials.iter().find(|one| one.name.as_str() == name).unwrap();
        let authority = catalog
            .authorities
            .iter()
            .find(|one| Some(&one.name) == credential.authority.as_ref())
            .unwrap();
        // One of an external CA is not renewed.
        if !node.root().join(relative(&authority.key)).exists() {
            continue;
        }
        let sources = stored.form.sources().map(|source| relative(&source.path));
        let files = sources.chain(credential.location.files().map(relative)).collect();
        let authority_files = [&authority.certificate, &authority.key].map(relative).into();
        managed.push(Managed { name, files, authority_files, old: stored.certificate });
    }
    let authority_files = ["crt", "key"].map(|kind| format!("{PKI}/ca.{kind}").into()).into();
    let files = [PKI_DIR, "etc/kubernetes/kubelet.conf"].map(PathBuf::from).into();
    let old = node.kubelet_certificate();
    let name = format!("kubelet of {NODE_NAME}");
    managed.push(Managed { name, files, authority_files, old });
    managed
}

/// Returns the latest certificate in these files and directories whose key is there too. Symlinks
/// are not followed.
pub fn read_pair(node: &Node, files: &BTreeSet<PathBuf>) -> Option<Certificate> {
    let mut texts = Vec::new();
    for file in files {
        let path = node.root().join(file);
        if has_symlink(node, file) {
            continue;
        }
        let entries = fs::read_dir(&path).map(|entries| entries.map(|one| one.unwrap().path()));
        match entries {
            Ok(entries) => entries.for_each(|entry| texts.extend(pem_texts(&entry))),
            Err(_) => texts.extend(pem_texts(&path)),
        }
    }
    let keys: Vec<_> = texts.iter().filter_map(|text| PrivateKey::from_pem(text).ok()).collect();
    texts
        .iter()
        .flat_map(|text| certificates(text).unwrap_or_default())
        .filter(|certificate| keys.iter().any(|key| key.fits(certificate)))
        .max_by_key(|certificate| certificate.not_after)
}

fn has_symlink(node: &Node, file: &Path) -> bool {
    let above = file.ancestors().filter(|path| !path.as_os_str().is_empty());
    above
        .map(|path| fs::symlink_metadata(node.root().join(path)))
        .any(|found| found.is_ok_and(|found| found.is_symlink()))
}

/// Returns the PEM texts in a file: itself, and what a kubeconfig embeds.
pub fn pem_texts(path: &Path) -> Vec<Vec<u8>> {
    let is_readable =
        fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() < 1 << 20);
    if !is_readable {
        return Vec::new();
    }
    let content = fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&content);
    let embedded = text.lines().filter_map(|line| line.split_once("-data:"));
    let embedded = embedded.filter_map(|(_, value)| BASE64_STANDARD.decode(value.trim()).ok());
    let embedded: Vec<_> = embedded.collect();
    embedded.into_iter().chain([content]).collect()
}

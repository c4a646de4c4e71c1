//! The fingerprints of what all control-plane nodes of a cluster have in common.

use std::collections::BTreeSet;

use super::Node;
use crate::credentials::{Files as _, ObservedFiles, cluster};
use crate::formats::pem;
use crate::model::{AbsolutePath, Authority, Digest, Fingerprint, Fingerprints, NodeRole};
use crate::settings::ProfileName;

/// The label of a public key in PEM, which is a SubjectPublicKeyInfo.
const PUBLIC_KEY: &str = "PUBLIC KEY";

/// The role of this node, by its profile.
#[must_use]
pub fn node_role(node: &Node) -> NodeRole {
    if node.profile == ProfileName::worker() { NodeRole::Worker } else { NodeRole::ControlPlane }
}

/// Reads what all control-plane nodes have in common. What can't be read has no fingerprint.
#[must_use]
pub fn fingerprints(node: &Node) -> Fingerprints {
    let files = &ObservedFiles::of(&node.root);
    let content_of = |authority: Option<&Authority>| {
        let content = files.read(&authority?.certificate).ok()??;
        Some(Digest::of(content.expose()).into())
    };
    Fingerprints {
        ca: content_of(node.catalog.root_authority()),
        front_proxy_ca: content_of(node.catalog.front_proxy_authority()),
        service_account: service_account_keys(files, &node.catalog.protected),
        kubeconfigs: kubeconfigs(files, node),
    }
}

/// The public keys of service accounts: the files among the protected ones that hold such keys.
fn service_account_keys(files: &ObservedFiles, protected: &[AbsolutePath]) -> Option<Fingerprint> {
    let mut keys = BTreeSet::new();
    for file in protected {
        let content = files.read(file).ok().flatten();
        let blocks = content.and_then(|content| pem::blocks(content.expose()).ok());
        let public = blocks.into_iter().flatten().filter(|block| block.label == PUBLIC_KEY);
        keys.extend(public.map(|block| Digest::of(block.der.expose())));
    }
    digest_of(&keys)
}

/// The CA certificates that the kubeconfigs of the profile trust. One that can't be read says
/// nothing of them.
fn kubeconfigs(files: &ObservedFiles, node: &Node) -> Option<Fingerprint> {
    let catalog = &node.catalog;
    let mut trusted = BTreeSet::new();
    for (name, file) in catalog.kubeconfig_files() {
        let is_of_profile =
            catalog.subjects.contains_key(&name) || catalog.kubeconfigs.contains_key(&name);
        if is_of_profile && let Some(cluster) = cluster(files, &file) {
            trusted.extend(cluster.certificates.ok()?.iter().map(|one| one.fingerprint));
        }
    }
    digest_of(&trusted)
}

/// One digest of a set, whatever the order in which it was found.
fn digest_of(set: &BTreeSet<Digest>) -> Option<Fingerprint> {
    let all: Vec<u8> = set.iter().flat_map(Digest::bytes).copied().collect();
    (!all.is_empty()).then(|| Digest::of(&all).into())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::common::trees::copy;
    use crate::model::SharedFile;
    use crate::observe::Config;
    use crate::sys::Root;

    fn open(dir: &Path) -> Node {
        Node::open(Root::open(dir).unwrap(), &Config::Usual).unwrap()
    }

    fn differing(one: &Fingerprints, other: &Fingerprints) -> Vec<SharedFile> {
        SharedFile::ALL.into_iter().filter(|file| one.of(*file) != other.of(*file)).collect()
    }

    #[test]
    fn fingerprints_change_with_their_files_alone() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let (rsa, ecdsa) =
            (fixtures.join("kubeadm-1.20-rsa2048"), fixtures.join("kubeadm-1.36-ecdsa-p256"));
        let disk = tempfile::tempdir().unwrap();
        copy(&rsa, disk.path());
        assert_eq!(node_role(&open(disk.path())), NodeRole::ControlPlane);
        let before = fingerprints(&open(disk.path()));
        assert!(SharedFile::ALL.iter().all(|file| before.of(*file).is_some()), "{before:?}");
        // Renewed certificates change nothing.
        copy(&rsa.join("renewed-by-kubeadm"), disk.path());
        assert_eq!(fingerprints(&open(disk.path())), before);
        let pki = |dir: &Path, name: &str| -> PathBuf { dir.join("etc/kubernetes").join(name) };
        for (file, changed) in [
            ("pki/sa.key", Vec::new()),
            ("pki/sa.pub", vec![SharedFile::ServiceAccount]),
            ("pki/front-proxy-ca.crt", vec![SharedFile::FrontProxyCa]),
            ("pki/ca.crt", vec![SharedFile::Ca]),
            ("scheduler.conf", vec![SharedFile::Kubeconfigs]),
        ] {
            let before = fingerprints(&open(disk.path()));
            std::fs::copy(pki(&ecdsa, file), pki(disk.path(), file)).unwrap();
            let after = fingerprints(&open(disk.path()));
            assert_eq!(differing(&before, &after), changed, "{file}");
        }
        std::fs::remove_file(pki(disk.path(), "pki/sa.pub")).unwrap();
        assert_eq!(fingerprints(&open(disk.path())).service_account, None);
    }
}

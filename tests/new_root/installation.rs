//! The installation, before there is a cluster.

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn installed_root_has_the_files_of_kubeadm() {
    require!("openssl");
    let (desk, node) = (Desk::new(), Node::empty());
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.shell(
        "openssl pkcs8 -topk8 -nocrypt -in company.key -out plain.key
         (echo a comment; cat company.crt; cat plain.key) >both.pem",
    );
    let run = install_on(&node, &desk, &["both.pem"]);
    assert_says(&run, 0, "installed /etc/kubernetes/pki/ca.crt and /etc/kubernetes/pki/ca.key");
    assert_eq!(node.text(CA_CRT), desk.text("company.crt"), "the certificate alone");
    let key = node.text(CA_KEY);
    assert!(key.starts_with("-----BEGIN EC PRIVATE KEY-----\n"), "kubeadm's form");
    let certificate = &certificates(&node.read(CA_CRT)).unwrap()[0];
    assert!(PrivateKey::from_pem(key.as_bytes()).unwrap().fits(certificate));
    for (file, expected) in [(CA_CRT, 0o644), (CA_KEY, 0o600), ("etc/kubernetes/pki", 0o755)] {
        assert_eq!(mode(&node.path(file)), expected, "{file}");
    }
    let owner = fs::metadata(node.path(CA_KEY)).unwrap();
    assert_eq!(owner.uid(), nix::unistd::geteuid().as_raw());
    assert!(node.dot_files().is_empty() && node.backups().is_empty());

    let before = node.snapshot();
    let run = install_on(&node, &desk, &["company.crt", "company.key"]);
    assert_says(
        &run,
        0,
        "/etc/kubernetes/pki/ca.crt and /etc/kubernetes/pki/ca.key are this CA already.",
    );
    desk.root("other", &[BASIC, USAGE, IDENTIFIER]);
    let run = install_on(&node, &desk, &["other.crt", "other.key"]);
    assert_says(&run, 1, "/etc/kubernetes/pki/ca.crt exists, and is not overwritten");
    assert!(node.snapshot().changed_paths(&before).is_empty());
}

#[test]
fn root_is_installed_only_where_there_is_no_cluster() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.root("bad", &[BASIC, USAGE, NO_IDENTIFIER]);
    let node = Node::empty();
    let before = node.snapshot();
    let run = install_on(&node, &desk, &["company.crt"]);
    assert_says(&run, 1, "the private key is needed too");
    let run = install_on(&node, &desk, &["bad.crt", "bad.key"]);
    assert_says(&run, 1, "it can't be the root CA of a cluster: it has no subjectKeyIdentifier");
    assert!(node.snapshot().changed_paths(&before).is_empty(), "nothing is written");

    // What a cluster has: each file alone is enough.
    for file in [
        CA_KEY,
        "etc/kubernetes/pki/apiserver.crt",
        "etc/kubernetes/scheduler.conf",
        "var/lib/kubelet/pki/kubelet-client-current.pem",
        "etc/kubernetes/manifests/kube-apiserver.yaml",
    ] {
        let node = Node::empty();
        node.write(file, "");
        let run = install_on(&node, &desk, &["company.crt", "company.key"]);
        assert_says(&run, 1, &format!("/{file} exists, and is not overwritten"));
        assert!(!node.path(CA_CRT).exists(), "{file}");
    }
    // A directory for static pods alone is no cluster: the package of kubelet makes it.
    let node = Node::empty();
    fs::create_dir_all(node.path("etc/kubernetes/manifests")).unwrap();
    fs::set_permissions(node.path("etc/kubernetes"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(install_on(&node, &desk, &["company.crt", "company.key"]).code, 0);
}

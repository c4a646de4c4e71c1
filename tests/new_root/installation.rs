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

/// A node with an external CA: the certificate without the key.
#[test]
fn key_completes_the_certificate_that_is_there() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.root("other", &[BASIC, USAGE, IDENTIFIER]);
    let node = Node::empty();
    // A comment shows that the file is not written again.
    let present = format!("# Company\n{}", desk.text("company.crt"));
    node.write(CA_CRT, &present);
    node.write("etc/kubernetes/pki/apiserver.crt", "");
    for others in [["other.crt", "other.key"], ["company.crt", "other.key"]] {
        assert_eq!(install_on(&node, &desk, &others).code, 1, "{others:?}");
        assert!(!node.path(CA_KEY).exists());
    }
    let run = install_on(&node, &desk, &["company.crt", "company.key"]);
    assert_says(&run, 0, "installed /etc/kubernetes/pki/ca.key: ");
    assert_eq!(node.text(CA_CRT), present);
    let certificate = &certificates(&node.read(CA_CRT)).unwrap()[0];
    assert!(PrivateKey::from_pem(&node.read(CA_KEY)).unwrap().fits(certificate));
    assert_eq!(mode(&node.path(CA_KEY)), 0o600);
    let run = install_on(&node, &desk, &["company.crt", "company.key"]);
    assert_says(&run, 0, "are this CA already.");

    // With a second certificate, it is not known which one signs.
    let node = Node::empty();
    node.write(CA_CRT, [desk.text("company.crt"), desk.text("other.crt")].concat());
    let run = install_on(&node, &desk, &["company.crt", "company.key"]);
    assert_says(&run, 1, "/etc/kubernetes/pki/ca.crt exists, and is not overwritten");
    assert!(!node.path(CA_KEY).exists());
}

#[test]
fn directory_that_others_can_write_is_a_warning() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    for (dir, mode) in [("etc/kubernetes/pki", 0o777), ("etc/kubernetes", 0o775)] {
        let node = Node::empty();
        fs::create_dir_all(node.path("etc/kubernetes/pki")).unwrap();
        fs::set_permissions(node.path(dir), PermissionsExt::from_mode(mode)).unwrap();
        let run = install_on(&node, &desk, &["company.crt", "company.key"]);
        let words = format!("warning  /{dir} has mode {mode:04o}, so others than root can replace");
        assert_says(&run, 0, &words);
        fs::set_permissions(node.path(dir), PermissionsExt::from_mode(0o755)).unwrap();
        let run = install_on(&node, &desk, &["company.crt", "company.key"]);
        assert!(!run.text.contains("can replace"), "{}", run.text);
    }
}

#[test]
fn kubeadm_is_named_only_for_its_own_files() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    for (dir, is_kubeadms) in [("/etc/kubernetes/pki", true), ("/srv/pki", false)] {
        let node = Node::empty();
        node.write(
            "etc/kubecertd/kubecertd.toml",
            format!(
                "profile = \"kubeadm\"\n[[ca]]\nname = \"ca\"\ncertificate = \"{dir}/ca.crt\"\n\
                 key = \"{dir}/ca.key\"\n"
            ),
        );
        let run = install_on(&node, &desk, &["company.crt", "company.key"]);
        assert_says(&run, 0, &format!("installed {dir}/ca.crt and {dir}/ca.key"));
        let uses = run.text.contains("kubeadm uses them from now on");
        assert_eq!(uses, is_kubeadms, "{}", run.text);
        assert_eq!(!run.text.contains("certificatesDir"), is_kubeadms, "{}", run.text);
    }
}

//! Comparison with kubeadm's own renewal: on trees that kubeadm 1.20 and 1.36 wrote, kubecertd's
//! result equals kubeadm's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and ask other programs"
)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use common::requirements::require;
use common::{ECDSA, Node, PKI, RSA};
use kubecertd::credentials::Stored;
use kubecertd::formats::x509::{Certificate, Extension, certificates};

/// The trees, and the number of credentials that kubeadm renews in each.
const TREES: [(&str, usize); 2] = [(RSA, 10), (ECDSA, 11)];

/// Makes the tree as kubeadm's renewal left it.
fn renewed_by_kubeadm(tree: &str) -> Node {
    let node = Node::empty();
    node.fill(&common::fixture(&format!("{tree}/renewed-by-kubeadm")));
    node
}

/// Makes the node with everything due, and renews it.
fn renewed_by_kubecertd(tree: &str, count: usize) -> Node {
    let node = Node::fresh(tree);
    node.age_all(10);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains(&format!("\n{count} credentials renewed.\n")), "{}", run.text);
    node
}

fn extension<'c>(certificate: &'c Certificate, oid: &str) -> Option<&'c Extension> {
    certificate.extensions.iter().find(|extension| extension.oid.to_id_string() == oid)
}

#[test]
fn renewed_certificate_has_same_fields_as_kubeadm() {
    for (tree, count) in TREES {
        let (ours, theirs) = (
            renewed_by_kubecertd(tree, count).usable_credentials(),
            renewed_by_kubeadm(tree).usable_credentials(),
        );
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        assert_eq!(ours.len(), count);
        for (name, ours) in &ours {
            let (ours, theirs) = (&ours.certificate, &theirs[name].certificate);
            assert_eq!(ours.subject, theirs.subject, "{name}");
            assert_eq!(ours.issuer, theirs.issuer, "{name}");
            assert_eq!(ours.key_algorithm, theirs.key_algorithm, "{name}");
            assert_eq!(ours.names(), theirs.names(), "{name}");
            // Key usage, extended key usage, alternative names, basic constraints, authority key
            // identifier.
            for oid in ["2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.19", "2.5.29.35"] {
                assert_eq!(extension(ours, oid), extension(theirs, oid), "{name} {oid}");
            }
            assert_eq!(ours.extensions.len(), theirs.extensions.len(), "{name}");
        }
    }
}

#[test]
fn renewed_certificate_has_year_of_validity_and_new_key() {
    for (tree, count) in TREES {
        let fresh = Node::fresh(tree);
        let authorities = ["ca", "front-proxy-ca", "etcd/ca"]
            .map(|name| certificates(&fresh.read(&format!("{PKI}/{name}.crt"))).unwrap().remove(0));
        let before = fresh.usable_credentials();
        for (name, stored) in renewed_by_kubecertd(tree, count).usable_credentials() {
            let (old, new) = (&before[&name].certificate, &stored.certificate);
            let left = new.not_after.seconds_since(common::now());
            assert!((365 * 86_400 - 120..=365 * 86_400).contains(&left), "{name}: {left} s");
            // notBefore is five minutes ago, or that of the CA when the clock is not known to be
            // synchronised.
            let begun = common::now().seconds_since(new.not_before);
            if kubecertd::drivers::timedate::synchronised_now(std::time::Duration::from_secs(2))
                == Some(true)
            {
                assert!((300..420).contains(&begun), "{name}: began {begun} s ago");
            } else {
                let authority = authorities.iter().find(|one| one.subject == new.issuer).unwrap();
                assert_eq!(new.not_before, authority.not_before, "{name}");
            }
            assert_ne!(new.serial, old.serial, "{name}");
            assert_ne!(new.public_key_der(), old.public_key_der(), "{name}");
        }
    }
}

/// The mode and owner of a file, and the labels of its PEM blocks.
type Shape = (u32, (u32, u32), Vec<String>);

fn file_shapes(node: &Node) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::new();
    common::walk(&node.path("etc"), &mut |path: &Path| {
        let stat = path.metadata().unwrap();
        let labels = kubecertd::formats::pem::blocks(&std::fs::read(path).unwrap_or_default())
            .unwrap_or_default();
        let labels = labels.into_iter().map(|block| block.label).collect();
        let name = path.strip_prefix(node.root()).unwrap().to_str().unwrap().to_owned();
        shapes.insert(name, (stat.permissions().mode(), (stat.uid(), stat.gid()), labels));
    });
    shapes
}

#[test]
fn renewed_files_have_same_metadata_as_kubeadm() {
    for (tree, count) in TREES {
        assert_eq!(
            file_shapes(&renewed_by_kubecertd(tree, count)),
            file_shapes(&renewed_by_kubeadm(tree))
        );
    }
}

#[test]
fn renewed_kubeconfig_equals_kubeadm_except_client_data() {
    let masked = |text: String| {
        let mask = |line: &str| match line.split_once("-data: ") {
            Some((key, _)) if key.trim_start().starts_with("client-") => format!("{key}-data: ..."),
            _ => line.to_owned(),
        };
        text.lines().map(mask).collect::<Vec<_>>()
    };
    for (tree, count) in TREES {
        let (ours, theirs) = (renewed_by_kubecertd(tree, count), renewed_by_kubeadm(tree));
        for conf in ["admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf"] {
            let conf = format!("etc/kubernetes/{conf}");
            assert_eq!(masked(ours.text(&conf)), masked(theirs.text(&conf)), "{conf}");
        }
        assert_eq!(
            ours.read(&format!("{PKI}/sa.key")),
            Node::fresh(tree).read(&format!("{PKI}/sa.key"))
        );
    }
}

fn openssl_verify(authority: &Path, certificate: &Path) {
    let output = std::process::Command::new("openssl")
        .args(["verify", "-x509_strict", "-CAfile"])
        .args([authority, certificate])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        certificate.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn openssl_strict_mode_accepts_renewed_certificates() {
    require!("openssl");
    for (tree, count) in TREES {
        let node = renewed_by_kubecertd(tree, count);
        for (name, Stored { certificate, .. }) in node.usable_credentials() {
            let file = node.path("leaf.pem");
            std::fs::write(&file, certificate.to_pem()).unwrap();
            let authority = match name.as_str() {
                "front-proxy-client" => "front-proxy-ca.crt",
                name if name.contains("etcd") => "etcd/ca.crt",
                _ => "ca.crt",
            };
            openssl_verify(&node.path(PKI).join(authority), &file);
        }
    }
}

#[test]
fn check_json_has_kubeadm_fields() {
    for (tree, _) in TREES {
        let node = Node::fresh(tree);
        let run = node.run(&["check", "-o", "json"]);
        let json: serde_json::Value = serde_json::from_str(&run.text).unwrap();
        assert_eq!(
            (json["kind"].as_str(), json["apiVersion"].as_str()),
            (Some("CertificateExpirationInfo"), Some("output.kubeadm.k8s.io/v1alpha3"))
        );
        let names = |list: &str| {
            json[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        // In the order and with the names of kubeadm.
        let expected = [
            "admin.conf",
            "apiserver",
            "apiserver-etcd-client",
            "apiserver-kubelet-client",
            "controller-manager.conf",
            "etcd-healthcheck-client",
            "etcd-peer",
            "etcd-server",
            "front-proxy-client",
            "scheduler.conf",
            "super-admin.conf",
        ];
        assert_eq!(names("certificates"), expected);
        assert_eq!(names("certificateAuthorities"), ["ca", "etcd-ca", "front-proxy-ca"]);
        for one in json["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .chain(json["certificateAuthorities"].as_array().unwrap())
        {
            let missing = one["missing"].as_bool().unwrap();
            assert_eq!(missing, tree == RSA && one["name"] == "super-admin.conf");
            assert_eq!(one["externallyManaged"], false);
            assert!(
                one["residualTime"].is_i64() && (missing || one["residualTime"].as_i64() > Some(0))
            );
            assert_eq!(one["expirationDate"].is_string(), !missing);
            assert!(!missing || one["caName"].is_null(), "kubeadm names no CA then: {one}");
        }
        let end = node.certificate("apiserver").not_after.to_string();
        let apiserver = json["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == "apiserver")
            .unwrap();
        assert_eq!(
            (apiserver["expirationDate"].as_str(), apiserver["caName"].as_str()),
            (Some(end.as_str()), Some("ca"))
        );
    }
}

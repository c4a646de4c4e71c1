//! Unusual but valid input, which must be kept as it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use kubecertd::formats::x509::{Certificate, PrivateKey, reissue};

use super::authorities::read_ca;
use super::common::requirements::require;
use super::common::{PKI, RSA, terms_with_days_left};
use super::faults::*;
use super::*;

#[test]
fn unusual_pem_forms_are_read() {
    const FORMS: &[Fault] = &[
        ("CRLF", |path| edit_text(path, |text| text.replace('\n', "\r\n")), ""),
        (
            "text before",
            |path| {
                edit_text(path, |text| {
                    format!("Certificate:\n    Version: 3 (0x2)\nsubject=CN = x\n{text}")
                })
            },
            "",
        ),
        (
            "text behind",
            |path| edit_text(path, |text| format!("{text}\n# renewed by hand, Zoë\n")),
            "",
        ),
        ("no line end", |path| edit_text(path, |text| text.trim_end().to_owned()), ""),
        ("one long line", |path| edit_text(path, join_lines), ""),
    ];
    let expected = |reported| Expected { code: SUCCESS, left: &[], reported };
    for file in [APISERVER_CRT, APISERVER_KEY, CA_CRT, CA_KEY] {
        for (name, reform, _) in FORMS {
            let node = Node::due();
            reform(&node.path(file));
            expected(&["apiserver"]).assert(&format!("{file}: {name}"), &node);
        }
    }
}

fn join_lines(pem: &str) -> String {
    let lines: Vec<&str> = pem.lines().collect();
    [lines[0], &lines[1..lines.len() - 1].concat(), lines[lines.len() - 1], ""].join("\n")
}

#[test]
fn ec_parameters_before_key_are_skipped() {
    const PARAMETERS: &str =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for file in [APISERVER_KEY, CA_KEY] {
        let node = Node::due();
        node.write(file, PARAMETERS.to_owned() + &node.text(file));
        Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }.assert(file, &node);
    }
}

#[test]
fn kubeconfig_with_crlf_or_comments_keeps_other_bytes() {
    type Reform = fn(&str) -> String;
    let reforms: [(&str, Reform); 3] = [
        ("CRLF", |text| text.replace('\n', "\r\n")),
        ("comments", |text| {
            text.replace("users:\n", "# the one and only — Zoë\nusers: # here\n\n")
        }),
        ("a block", |text| {
            text.replace("client-certificate-data: ", "client-certificate-data: |-\n      ")
        }),
    ];
    for (case, reform) in reforms {
        let node = Node::due();
        edit_text(&node.path(ADMIN), reform);
        let without = |text: String| -> Vec<String> {
            text.split('\n').filter(|line| line.len() < 300).map(str::to_owned).collect()
        };
        let before = without(node.text(ADMIN));
        Expected { code: SUCCESS, left: &[], reported: &["admin.conf"] }.assert(case, &node);
        assert_eq!(without(node.text(ADMIN)), before, "{case}");
    }
}

#[test]
fn certificates_after_leaf_are_kept() {
    let node = Node::due();
    let further = [node.text(CA_CRT), node.text(FRONT_CA_CRT)].concat();
    node.write(APISERVER_CRT, node.text(APISERVER_CRT) + &further);
    Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }.assert("a chain", &node);
    assert!(node.text(APISERVER_CRT).ends_with(&further));
    assert_eq!(certificates(&node.read(APISERVER_CRT)).unwrap().len(), 3);
}

#[test]
fn bundle_keeps_order_and_additional_certificates() {
    let (certificate, key) = (Node::due().text(FRONT_CRT), Node::due().text(FRONT_KEY));
    let further = Node::due().text(FRONT_CA_CRT);
    for (case, content) in [
        ("key first", format!("{key}{certificate}{further}")),
        ("key last", format!("{certificate}{further}{key}")),
    ] {
        let node = Node::due();
        node.write("etc/proxy.pem", content);
        node.write(
            "etc/kubecertd/kubecertd.toml",
            "[[credential]]\nname = \"proxy\"\nca = \"front-proxy-ca\"\nbundle = \
             \"/etc/proxy.pem\"\n",
        );
        Expected { code: SUCCESS, left: &[], reported: &["proxy"] }.assert(case, &node);
        let text = node.text("etc/proxy.pem");
        assert_eq!(
            text.find("PRIVATE KEY") < text.find("CERTIFICATE"),
            case == "key first",
            "{text}"
        );
        assert!(text.contains(&further));
    }
}

/// A pair in one file is legal: a manifest may name the same file twice.
#[test]
fn pair_in_one_file_keeps_both_halves() {
    for case in ["one path", "a symlink"] {
        let node = Node::due();
        let both = node.text(APISERVER_CRT) + &node.text(APISERVER_KEY);
        node.write("etc/kubernetes/pki/apiserver.pem", &both);
        node.remove(APISERVER_CRT);
        node.remove(APISERVER_KEY);
        if case == "one path" {
            let manifest = "etc/kubernetes/manifests/kube-apiserver.yaml";
            node.edit(manifest, "pki/apiserver.crt", "pki/apiserver.pem");
            node.edit(manifest, "pki/apiserver.key", "pki/apiserver.pem");
            Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }.assert(case, &node);
            assert!(node.text("etc/kubernetes/pki/apiserver.pem").contains("PRIVATE KEY"));
        } else {
            symlink("apiserver.pem", node.path(APISERVER_CRT)).unwrap();
            symlink("apiserver.pem", node.path(APISERVER_KEY)).unwrap();
            let renew = node.run(&["renew"]);
            assert_eq!(renew.code, PARTIAL, "{}", renew.text);
            assert!(
                renew
                    .text
                    .contains("/etc/kubernetes/pki/apiserver.pem: the certificate and the key"),
                "{}",
                renew.text
            );
            assert_eq!(node.text("etc/kubernetes/pki/apiserver.pem"), both);
        }
    }
}

#[test]
fn key_shared_by_two_certificates_is_not_replaced() {
    for case in ["one path", "a symlink"] {
        let node = Node::due();
        let (ca, ca_key) = read_ca(&node, CA_CRT, CA_KEY);
        let shared = PrivateKey::from_pem(&node.read(APISERVER_KEY)).unwrap();
        let client = node.certificate("apiserver-kubelet-client");
        let der = reissue(&client, &ca, &ca_key, &shared, &terms_with_days_left(200)).unwrap();
        node.write(
            &format!("{PKI}/apiserver-kubelet-client.crt"),
            Certificate::from_der(&der).unwrap().to_pem(),
        );
        let own = format!("{PKI}/apiserver-kubelet-client.key");
        node.remove(&own);
        match case {
            "a symlink" => symlink("apiserver.key", node.path(&own)).unwrap(),
            _ => node.edit(
                "etc/kubernetes/manifests/kube-apiserver.yaml",
                "pki/apiserver-kubelet-client.key",
                "pki/apiserver.key",
            ),
        }
        let left = &["apiserver", "apiserver-kubelet-client"];
        let reported = &[
            "apiserver.key: apiserver-kubelet-client uses this file too, but not both files",
            "give each files of its own",
        ];
        Expected { code: PARTIAL, left, reported }.assert(case, &node);
    }
}

#[test]
fn repeated_multi_valued_or_non_ascii_names_are_kept() {
    require!("openssl");
    let node = Node::due();
    let dir = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| openssl(dir.path(), arguments);
    let config = "[req]\nprompt=no\nstring_mask=utf8only\nutf8=yes\ndistinguished_name=n\n\
        [n]\n0.DC=com\n1.DC=example\nO=Zürich Käse\n0.OU=one\n1.OU=two\nCN=front\n+serialNumber=7\n\
        [ca]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n\
        subjectKeyIdentifier=hash\n\
        [leaf]\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n\
        subjectAltName=DNS:front,IP:10.0.0.1\n1.2.3.4.5=ASN1:UTF8String:own\n";
    fs::write(dir.path().join("c"), config).unwrap();
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -config c -extensions ca -days 3650 -keyout ca.key -out \
         ca.crt",
    );
    openssl("req -newkey rsa:2048 -nodes -config c -keyout leaf.key -out leaf.csr");
    openssl(
        "x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -days 10 -extfile c -extensions leaf -out \
         leaf.crt",
    );
    for (from, to) in [
        ("ca.crt", FRONT_CA_CRT),
        ("ca.key", FRONT_CA_KEY),
        ("leaf.crt", FRONT_CRT),
        ("leaf.key", FRONT_KEY),
    ] {
        node.write(to, fs::read(dir.path().join(from)).unwrap());
    }
    let shown = |file: &Path| {
        openssl(&format!(
            "x509 -in {} -noout -subject -issuer -ext subjectAltName,keyUsage -nameopt \
             RFC2253,show_type",
            file.display()
        ))
    };
    let before = shown(&node.path(FRONT_CRT));
    assert!(
        before.contains("OU=UTF8STRING:two,OU=UTF8STRING:one") && before.contains("+"),
        "{before}"
    );
    let run = node.run(&["renew", "--force", "front-proxy-client"]);
    assert_eq!(run.code, SUCCESS, "{}", run.text);
    assert_eq!(shown(&node.path(FRONT_CRT)), before);
    openssl(&format!("verify -x509_strict -CAfile ca.crt {}", node.path(FRONT_CRT).display()));
}

fn openssl(dir: &Path, arguments: &str) -> String {
    let output =
        Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn files_of_older_kubeadm_are_renewed_too() {
    let node = Node::fresh(RSA);
    ["apiserver", "admin.conf"].into_iter().for_each(|name| node.age(name, 10));
    let encrypted = node.text(APISERVER_KEY).replacen(
        "-----\n",
        "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n",
        1,
    );
    node.write(APISERVER_KEY, &encrypted);
    let before = node.certificate("admin.conf");
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, SUCCESS, "{}", renew.text);
    assert!(
        renew.text.contains("/etc/kubernetes/pki/apiserver.key: the private key is encrypted"),
        "{}",
        renew.text
    );
    assert!(node.text(APISERVER_KEY).starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert!(node.backups().contains(encrypted.as_bytes()));
    let after = node.certificate("admin.conf");
    assert_eq!((&after.subject, &after.key_algorithm), (&before.subject, &before.key_algorithm));
    assert_ne!(after.serial, before.serial);
    assert_eq!(node.certificate("apiserver").key_algorithm, before.key_algorithm);
}

//! Copies of credentials: they are brought up to date for every owner and with other content kept.
//! A copy that a user has changed is left as it is. The owner of a copy gains nothing but a newer
//! copy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

#[path = "../common/mod.rs"]
mod common;

mod changed_by_user;
mod hostile;
mod updates;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::Node;
use common::requirements::{MOUNTS, ROOT, require};
use kubecertd::formats::x509::{Certificate, PrivateKey, certificates};
use kubecertd::model::Digest;

const ADMIN: &str = "etc/kubernetes/admin.conf";
const ALICE_CONFIG: &str = "home/alice/.kube/config";
const ALICE_UID: u32 = 1001;

/// An entry for every kubeconfig in a home directory.
const HOME_COPIES: &str = "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/home/*/.kube/config'\n";

fn with_configuration(node: Node, configuration: &str) -> Node {
    node.write("etc/kubecertd/kubecertd.toml", configuration);
    node
}

/// Writes a file, with its directories, for this owner.
fn write_owned(node: &Node, file: &str, content: impl AsRef<[u8]>, owner: u32, mode: u32) {
    node.write(file, content);
    fs::set_permissions(node.path(file), PermissionsExt::from_mode(mode)).unwrap();
    if owner != 0 {
        // The two directories above the file belong to the owner too, except for shared ones.
        for dir in node
            .path(file)
            .ancestors()
            .skip(1)
            .take(2)
            .filter(|dir| !dir.ends_with("home") && *dir != node.root())
        {
            chown(dir, Some(owner), Some(owner)).unwrap();
        }
        chown(node.path(file), Some(owner), Some(owner)).unwrap();
    }
}

/// Returns Alice's kubeconfig: another cluster, which is the current one, another user with a
/// token, and the administrator of this cluster.
fn alice_kubeconfig(admin: &str) -> String {
    let data = |key: &str| {
        admin.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim().to_owned()
    };
    format!(
        "# alice's own\napiVersion: v1\nkind: Config\ncurrent-context: elsewhere\npreferences: \
         {{}}\nclusters:\n\
         - {{name: far, cluster: {{server: \"https://far:6443\"}}}} # keep\n- name: here\n  \
         cluster:\n    server: https://here:6443\n\
         contexts:\n- {{name: elsewhere, context: {{cluster: far, user: me}}}}\n- {{name: here, \
         context: {{cluster: here, user: root-here}}}}\n\
         users:\n- name: me\n  user: {{token: \"s3cret-of-alice\"}}\n- name: root-here\n  \
         user:\n    client-key-data:   '{}' # mine\n    client-certificate-data: {}\n",
        data("client-key-data:"),
        data("client-certificate-data:")
    )
}

/// Splits a kubeconfig into its decoded client certificates and keys, and the text without them.
fn split_client_data(text: &str) -> (Vec<Vec<u8>>, String) {
    let mut rest = String::new();
    let mut values = Vec::new();
    for line in text.lines() {
        match line
            .split_once("-data:")
            .filter(|(key, _)| key.ends_with("client-certificate") || key.ends_with("client-key"))
        {
            Some((key, value)) => {
                let base64 = value.split_whitespace().next().unwrap().trim_matches('\'');
                values.push(BASE64_STANDARD.decode(base64).unwrap());
                rest += &format!("{key}-data:{}\n", value.replace(base64, "..."));
            }
            None => rest += &format!("{line}\n"),
        }
    }
    (values, rest)
}

/// Returns the certificate of some PEM texts, if the key among them fits it.
fn matching_certificate(texts: &[&[u8]]) -> Option<Certificate> {
    let certificate = texts.iter().find_map(|text| certificates(text).ok()?.into_iter().next())?;
    let key = texts.iter().find_map(|text| PrivateKey::from_pem(text).ok())?;
    key.fits(&certificate).then_some(certificate)
}

/// Returns the fingerprint of the one embedded certificate of a kubeconfig.
fn embedded_fingerprint(node: &Node, file: &str) -> Digest {
    let (values, _) = split_client_data(&node.text(file));
    matching_certificate(&values.iter().map(Vec::as_slice).collect::<Vec<_>>())
        .unwrap_or_else(|| panic!("{file} is not whole"))
        .fingerprint
}

fn admin_fingerprint(node: &Node) -> Digest {
    node.certificate("admin.conf").fingerprint
}

/// Returns one line of the output of `check`.
fn check_line(node: &Node, name: &str) -> String {
    let run = node.run(&["check"]);
    let found = run
        .text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name))
        .map(str::to_owned);
    found.unwrap_or_else(|| panic!("{name} is not in {}", run.text))
}

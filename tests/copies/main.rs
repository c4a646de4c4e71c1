//! Copies: they follow their originals, whoever owns them and whatever else is in them; what
//! somebody else has changed is left as it is; and nobody who has one in his hands gets more by it
//! than a newer copy.
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

mod changed;
mod following;
mod hostile;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::Node;
use kubecertd::formats::x509::{Certificate, PrivateKey, certificates};
use kubecertd::model::Digest;

const ADMIN: &str = "etc/kubernetes/admin.conf";
const ALICE: &str = "home/alice/.kube/config";
const ALICES: u32 = 1001;

/// Every kubeconfig in a home folder.
const HOMES: &str = "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/home/*/.kube/config'\n";

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: files of others can only be made by root");
    }
    root
}

fn configured(node: Node, configuration: &str) -> Node {
    node.write("etc/kubecertd/kubecertd.toml", configuration);
    node
}

/// Puts a file there, with its folders, for this owner.
fn give(node: &Node, file: &str, content: impl AsRef<[u8]>, owner: u32, mode: u32) {
    node.write(file, content);
    fs::set_permissions(node.path(file), PermissionsExt::from_mode(mode)).unwrap();
    if owner != 0 {
        // The folder that holds it, and the one above that, but for those in which everybody's lie.
        for folder in node
            .path(file)
            .ancestors()
            .skip(1)
            .take(2)
            .filter(|folder| !folder.ends_with("home") && *folder != node.root())
        {
            chown(folder, Some(owner), Some(owner)).unwrap();
        }
        chown(node.path(file), Some(owner), Some(owner)).unwrap();
    }
}

/// Alice's kubeconfig: another cluster, which is the current one, another user with a token, and
/// the administrator of this one.
fn alices(admin: &str) -> String {
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

/// The values of a kubeconfig's lines that have these keys, decoded, and the text without them.
fn apart(text: &str) -> (Vec<Vec<u8>>, String) {
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

/// The certificate in some PEM texts, if the key among them fits it.
fn whole(texts: &[&[u8]]) -> Option<Certificate> {
    let certificate = texts.iter().find_map(|text| certificates(text).ok()?.into_iter().next())?;
    let key = texts.iter().find_map(|text| PrivateKey::from_pem(text).ok())?;
    key.fits(&certificate).then_some(certificate)
}

/// What a kubeconfig with one embedded certificate holds.
fn embedded(node: &Node, file: &str) -> Digest {
    let (values, _) = apart(&node.text(file));
    whole(&values.iter().map(Vec::as_slice).collect::<Vec<_>>())
        .unwrap_or_else(|| panic!("{file} is not whole"))
        .fingerprint
}

fn admins(node: &Node) -> Digest {
    node.certificate("admin.conf").fingerprint
}

/// One line of `check`.
fn line(node: &Node, name: &str) -> String {
    let run = node.run(&["check"]);
    let found = run
        .text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name))
        .map(str::to_owned);
    found.unwrap_or_else(|| panic!("{name} is not in {}", run.text))
}

//! Files that openssl or a person has made, for the tests of this program.
#![allow(dead_code, reason = "each module uses a part of it")]

use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kubecertd::model::Timestamp;
use serde_json::Value;

use crate::common::{Node, now};

/// Runs a tool of the system without its output, and returns whether it succeeded.
pub fn run_tool(name: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(name);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What `check` prints as JSON.
pub fn json(node: &Node) -> Value {
    serde_json::from_str(&node.run(&["check", "-o", "json"]).text).unwrap()
}

/// The alarms in force.
pub fn alarms(node: &Node) -> Vec<Value> {
    let all: Value = serde_json::from_str(&node.run(&["alarms", "-o", "json"]).text).unwrap();
    all["alarms"].as_array().unwrap().clone()
}

/// Replaces one embedded value of a kubeconfig.
pub fn embed(node: &Node, file: &str, field: &str, content: &[u8]) {
    let text = node.text(file);
    let lines = text.lines().map(|line| match line.split_once(field) {
        Some((indent, _)) => format!("{indent}{field}: {}\n", BASE64_STANDARD.encode(content)),
        None => format!("{line}\n"),
    });
    node.write(file, lines.collect::<String>());
}

/// Has all kubeconfigs of kubeadm trust these CA certificates.
pub fn trust_in_kubeconfigs(node: &Node, pem: &str) {
    for name in ["admin", "super-admin", "controller-manager", "scheduler", "kubelet"] {
        let file = format!("etc/kubernetes/{name}.conf");
        embed(node, &file, "certificate-authority-data", pem.as_bytes());
    }
}

/// Returns the first embedded value of this name in a kubeconfig.
pub fn embedded(node: &Node, file: &str, field: &str) -> Vec<u8> {
    let text = node.text(file);
    let value =
        text.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix(": ")).unwrap();
    BASE64_STANDARD.decode(value).unwrap()
}

/// Runs openssl, which has to succeed.
fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
}

/// Makes a client pair with a key of this kind (`rsa:1024`, `ec:secp521r1`, `ed25519`), signed by a
/// CA of the node; each is named by its files without extension.
pub fn openssl_leaf(node: &Node, pair: &str, ca: &str, key: &str, days: u32) {
    let path = |file: String| node.path(&file).to_str().unwrap().to_owned();
    let (certificate, private) = (path(format!("{pair}.crt")), path(format!("{pair}.key")));
    let request = path("leaf.csr".to_owned());
    let option = match key.split_once(':') {
        Some(("rsa", bits)) => format!("rsa_keygen_bits:{bits}"),
        Some((_, curve)) => format!("ec_paramgen_curve:{curve}"),
        None => String::new(),
    };
    let kind = key.split(':').next().unwrap();
    let mut arguments = vec!["genpkey", "-quiet", "-algorithm", kind, "-out", &private];
    if !option.is_empty() {
        arguments.extend(["-pkeyopt", &option]);
    }
    arguments.retain(|argument| *argument != "-quiet");
    openssl(&arguments);
    let subject = "/O=system:masters/CN=kube-apiserver-kubelet-client";
    openssl(&["req", "-new", "-key", &private, "-subj", subject, "-out", &request]);
    let extensions = path("leaf.ext".to_owned());
    std::fs::write(
        &extensions,
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nbasicConstraints=critical,\
         CA:FALSE\nauthorityKeyIdentifier=keyid\n",
    )
    .unwrap();
    let (ca_certificate, ca_key) = (path(format!("{ca}.crt")), path(format!("{ca}.key")));
    #[rustfmt::skip]
    let arguments = [
        "-in", &request, "-cert", &ca_certificate, "-keyfile", &ca_key,
        "-extfile", &extensions, "-out", &certificate,
    ];
    sign_backdated(&arguments, days);
    std::fs::remove_file(request).unwrap();
    std::fs::remove_file(extensions).unwrap();
}

/// Has `openssl ca` sign a request: valid since 300 days, and for so many days more. `x509 -req`
/// knows no beginning but now, and the whole life of a certificate decides when it is due.
pub fn sign_backdated(arguments: &[&str], days: u32) {
    let dir = tempfile::tempdir().unwrap();
    let path = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    let here = dir.path().display();
    let config = format!(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = {here}/index\nnew_certs_dir = {here}\n\
         serial = {here}/serial\npolicy = any\ndefault_md = sha256\n\
         copy_extensions = copyall\nunique_subject = no\n\
         [any]\ncommonName = optional\norganizationName = optional\n"
    );
    std::fs::write(path("config"), config).unwrap();
    std::fs::write(path("index"), "").unwrap();
    let day = |length: i64| {
        let at = now().seconds() + length * 86_400;
        Timestamp::from_seconds(at).civil().strftime("%Y%m%d%H%M%SZ").to_string()
    };
    let (config, begins, ends) = (path("config"), day(-300), day(i64::from(days)));
    #[rustfmt::skip]
    let usual = [
        "ca", "-batch", "-notext", "-config", &config, "-create_serial", "-preserveDN",
        "-startdate", &begins, "-enddate", &ends,
    ];
    openssl(&[&usual[..], arguments].concat());
}

/// Certificate authorities.
pub mod openssl_ca {
    use kubecertd::formats::x509::{Certificate, KeyAlgorithm, PrivateKey, certificates, reissue};

    use crate::common::{Node, terms_with_days_left};

    fn files(node: &Node, ca: &str) -> (Certificate, PrivateKey) {
        let certificate = certificates(&node.read(&format!("{ca}.crt"))).unwrap().remove(0);
        (certificate, PrivateKey::from_pem(&node.read(&format!("{ca}.key"))).unwrap())
    }

    /// Returns another certificate for a CA's name and key, signed by a root above it: the CA for
    /// the front proxy stands for that.
    pub fn cross_signed(node: &Node, ca: &str) -> Certificate {
        let (certificate, key) = files(node, ca);
        let (root, root_key) = files(node, "etc/kubernetes/pki/front-proxy-ca");
        let terms = terms_with_days_left(900);
        let der = reissue(&certificate, &root, &root_key, &key, &terms).unwrap();
        // The key identifier of the new certificate is of another kind than kubeadm's.
        Certificate::from_der(&der).unwrap()
    }

    /// Replaces a CA by one with another name and key, and keeps the old certificate as an anchor.
    pub fn replace_keeping_the_old_anchor(node: &Node, ca: &str) {
        let (old, _) = files(node, ca);
        let (model, _) = files(node, "etc/kubernetes/pki/etcd/ca");
        let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
        let terms = terms_with_days_left(300);
        // Self-signed: first with its own key as the issuer's.
        let first =
            reissue(&model, &model, &files(node, "etc/kubernetes/pki/etcd/ca").1, &key, &terms);
        let first = Certificate::from_der(&first.unwrap()).unwrap();
        let own = reissue(&first, &first, &key, &key, &terms).unwrap();
        let own = Certificate::from_der(&own).unwrap();
        node.write(&format!("{ca}.crt"), own.to_pem() + &old.to_pem());
        node.write(&format!("{ca}.key"), key.to_pem().unwrap().expose());
    }
}

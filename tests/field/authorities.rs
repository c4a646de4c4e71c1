//! CAs of real clusters: intermediates, SHA-1, two tiers, keys by other names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use kubecertd::formats::x509::{Certificate, PrivateKey, certificates};
use serde_json::Value;

use super::common::requirements::require;
use super::common::{CA_CRT, CA_KEY, FRONT_CA_CRT, FRONT_CA_KEY, Node, PKI, Run};
use super::support::{alarms, json, sign_backdated, trust_in_kubeconfigs};

mod chains;

const ETCD_CA_CRT: &str = "etc/kubernetes/pki/etcd/ca.crt";
const ETCD_CA_KEY: &str = "etc/kubernetes/pki/etcd/ca.key";
const API_SERVER: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";
const CONTROLLER_MANAGER: &str = "etc/kubernetes/manifests/kube-controller-manager.yaml";

const BY_CA: [&str; 6] = [
    "admin.conf",
    "apiserver",
    "apiserver-kubelet-client",
    "controller-manager.conf",
    "scheduler.conf",
    "super-admin.conf",
];
const BY_ETCD_CA: [&str; 4] =
    ["apiserver-etcd-client", "etcd/healthcheck-client", "etcd/peer", "etcd/server"];

const SUCCESS: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const ATTENTION: i32 = 3;
const PARTIAL: i32 = 4;

/// CAs and certificates that openssl makes, in a directory of their own.
struct Openssl(tempfile::TempDir);

/// The kinds of keys, as openssl is asked for them.
const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
const P521: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";

impl Openssl {
    fn new() -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        dir.write(
            "ca.ext",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,digitalSignature\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
        );
        dir
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(file), content).unwrap();
    }

    fn pem(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn certificate(&self, file: &str) -> Certificate {
        certificates(self.pem(file).as_bytes()).unwrap().remove(0)
    }

    fn run(&self, arguments: &str) {
        let arguments = arguments.split_whitespace();
        let output =
            Command::new("openssl").args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn verifies(&self, options: &str, certificate: &str) -> bool {
        let arguments = format!("verify {options} {certificate}");
        let arguments = arguments.split_whitespace();
        let output =
            Command::new("openssl").args(arguments).current_dir(self.0.path()).output().unwrap();
        output.status.success()
    }

    /// A CA in NAME.crt and NAME.key; `by` is its issuer, or its own name.
    fn ca(&self, name: &str, by: &str, key: &str, digest: &str) {
        self.run(&format!("genpkey {key} -out {name}.key"));
        self.certify(name, by, digest);
    }

    /// A certificate for the key of a CA.
    fn certify(&self, name: &str, by: &str, digest: &str) {
        self.run(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        let signer = if name == by {
            format!("-signkey {name}.key")
        } else {
            format!("-CA {by}.crt -CAkey {by}.key")
        };
        self.run(&format!(
            "x509 -req -in {name}.csr {signer} -days 3000 -extfile ca.ext {digest} -out {name}.crt"
        ));
    }

    fn ca_key(&self, name: &str) -> PrivateKey {
        PrivateKey::from_pem(self.pem(&format!("{name}.key")).as_bytes()).unwrap()
    }

    /// Has a CA sign a pair of the node again, with its key, names and usages.
    fn sign_pair(&self, node: &Node, pair: &str, ca: &str, days: u32, digest: &str) {
        for kind in ["crt", "key"] {
            self.write(&format!("leaf.{kind}"), node.read(&format!("{PKI}/{pair}.{kind}")));
        }
        let copied = "-copy_extensions copyall";
        self.run(&format!("x509 -x509toreq -in leaf.crt -key leaf.key {copied} -out leaf.csr"));
        let path = |file: &str| self.path(file).to_str().unwrap().to_owned();
        let [request, signed] = ["leaf.csr", "signed.crt"].map(path);
        let [certificate, key] = ["crt", "key"].map(|end| path(&format!("{ca}.{end}")));
        #[rustfmt::skip]
        let arguments = [
            "-in", &request, "-cert", &certificate, "-keyfile", &key, "-md", digest,
            "-out", &signed,
        ];
        sign_backdated(&arguments, days);
        node.write(&format!("{PKI}/{pair}.crt"), self.pem("signed.crt"));
    }
}

fn sign_all(node: &Node, names: &[&str], openssl: &Openssl, ca: &str) {
    let (certificate, key) = (openssl.certificate(&format!("{ca}.crt")), openssl.ca_key(ca));
    names.iter().for_each(|name| node.sign_with(name, &certificate, &key, 10));
}

/// What `check` says of a credential or CA.
fn checked(node: &Node, name: &str) -> Value {
    let all = json(node);
    let lists =
        ["certificates", "certificateAuthorities"].map(|list| all[list].as_array().unwrap());
    let mut entries = lists.into_iter().flatten();
    entries.find(|entry| entry["credential"] == name).unwrap().clone()
}

fn state(node: &Node, name: &str) -> String {
    checked(node, name)["state"].as_str().unwrap().to_owned()
}

fn reason(node: &Node, name: &str) -> String {
    checked(node, name)["reason"].as_str().unwrap().to_owned()
}

fn alarm_ids(node: &Node) -> Vec<String> {
    alarms(node).iter().map(|alarm| alarm["id"].as_str().unwrap().to_owned()).collect()
}

fn assert_code(run: &Run, code: i32) {
    assert_eq!(run.code, code, "{}", run.text);
}

/// A node whose CA is an intermediate.
fn node_with_intermediate(openssl: &Openssl) -> Node {
    openssl.ca("root", "root", P256, "");
    openssl.ca("kubernetes", "root", P256, "");
    let node = Node::due();
    sign_all(&node, &BY_CA, openssl, "kubernetes");
    node.write(CA_CRT, openssl.pem("kubernetes.crt"));
    node.write(CA_KEY, openssl.pem("kubernetes.key"));
    trust_in_kubeconfigs(&node, &openssl.pem("kubernetes.crt"));
    node
}

// ---- intermediates ----

#[test]
fn intermediate_as_ca_renews_and_is_noted() {
    require!("openssl");
    let openssl = Openssl::new();
    let node = node_with_intermediate(&openssl);
    assert_code(&node.run(&["renew"]), SUCCESS);
    for name in BY_CA {
        assert!(node.certificate(name).is_signed_by(&openssl.certificate("kubernetes.crt")));
        assert_eq!(state(&node, name), "fresh");
    }
    openssl.write("apiserver.crt", node.read("etc/kubernetes/pki/apiserver.crt"));
    assert!(openssl.verifies("-partial_chain -CAfile kubernetes.crt", "apiserver.crt"));
    assert!(openssl.verifies("-CAfile root.crt -untrusted kubernetes.crt", "apiserver.crt"));
    let check = node.run(&["check"]);
    assert_code(&check, SUCCESS);
    let note = "ca: it is an intermediate CA, issued by CN=root: Kubernetes and kubeadm do not \
        support that, because";
    assert!(check.text.contains(note), "{}", check.text);
    assert!(check.text.contains("do not add the root to /etc/kubernetes/pki/ca.crt"));
    assert_eq!(state(&node, "ca"), "usable");
    assert_eq!(alarm_ids(&node), [""; 0]);
}

#[test]
fn root_beside_intermediate_is_alarmed_until_it_is_removed() {
    require!("openssl");
    let openssl = Openssl::new();
    for root_first in [false, true] {
        let node = node_with_intermediate(&openssl);
        let mut file = [openssl.pem("kubernetes.crt"), openssl.pem("root.crt")];
        if root_first {
            file.reverse();
        }
        node.write(CA_CRT, file.concat());
        assert_code(&node.run(&["renew"]), SUCCESS);
        assert_eq!(alarm_ids(&node), ["root-admits-others"]);
        let shown = node.run(&["alarms"]).text;
        assert!(shown.contains("CN=root, the root above the intermediate ca"), "{shown}");
        node.write(CA_CRT, openssl.pem("kubernetes.crt"));
        assert_code(&node.run(&["renew"]), SUCCESS);
        assert_eq!(alarm_ids(&node), [""; 0]);
    }
}

/// While a CA is replaced, the new root may be certified by the old one too.
#[test]
fn cross_certified_root_raises_no_alarm() {
    require!("openssl");
    let openssl = Openssl::new();
    openssl.ca("new", "new", P256, "");
    let node = Node::due();
    openssl.write("old.crt", node.read(CA_CRT));
    openssl.write("old.key", node.read(CA_KEY));
    let own = openssl.pem("new.crt");
    openssl.certify("new", "old", "");
    node.write(CA_CRT, own + &openssl.pem("old.crt") + &openssl.pem("new.crt"));
    node.write(CA_KEY, openssl.pem("new.key"));
    node.run(&["renew"]);
    assert!(!alarm_ids(&node).contains(&"root-admits-others".to_owned()));
    assert!(!reason(&node, "ca").contains("intermediate"));
}

/// The file of the flag counts: it is where clients are accepted.
#[test]
fn root_for_other_purposes_than_clients_is_not_alarmed() {
    require!("openssl");
    let openssl = Openssl::new();
    let node = node_with_intermediate(&openssl);
    node.write(CA_CRT, openssl.pem("kubernetes.crt") + &openssl.pem("root.crt"));
    node.write(&format!("{PKI}/clients.crt"), openssl.pem("kubernetes.crt"));
    node.edit(
        API_SERVER,
        "--client-ca-file=/etc/kubernetes/pki/ca.crt",
        "--client-ca-file=/etc/kubernetes/pki/clients.crt",
    );
    assert_code(&node.run(&["renew"]), SUCCESS);
    assert_eq!(checked(&node, "ca")["file"], "/etc/kubernetes/pki/ca.crt");
    assert_eq!(alarm_ids(&node), [""; 0]);
}

/// Whether a root is among the accepted CAs is not known while their file can't be read.
#[test]
fn alarm_about_a_root_stays_while_its_file_cannot_be_read() {
    require!("openssl");
    let openssl = Openssl::new();
    let node = node_with_intermediate(&openssl);
    let clients = format!("{PKI}/clients.crt");
    node.write(&clients, openssl.pem("kubernetes.crt") + &openssl.pem("root.crt"));
    node.edit(
        API_SERVER,
        "--client-ca-file=/etc/kubernetes/pki/ca.crt",
        "--client-ca-file=/etc/kubernetes/pki/clients.crt",
    );
    node.run(&["renew"]);
    assert_eq!(alarm_ids(&node), ["root-admits-others"]);
    let content = node.text(&clients);
    node.write(&clients, "-----BEGIN CERTIFICATE-----\n");
    node.run(&["renew"]);
    assert_eq!(alarm_ids(&node), ["root-admits-others"]);
    node.write(&clients, content);
    node.run(&["renew"]);
    assert_eq!(alarm_ids(&node), ["root-admits-others"]);
    node.write(&clients, openssl.pem("kubernetes.crt"));
    node.run(&["renew"]);
    assert_eq!(alarm_ids(&node), [""; 0]);
}

#[test]
fn no_command_installs_a_ca() {
    require!("openssl");
    let openssl = Openssl::new();
    openssl.ca("root", "root", P256, "");
    openssl.ca("kubernetes", "root", P256, "");
    let node = Node::due();
    let before = node.read(CA_CRT);
    let file = openssl.path("kubernetes.crt");
    let run = node.run(&["install", "ca", file.to_str().unwrap()]);
    assert_code(&run, USAGE);
    assert_eq!(node.read(CA_CRT), before);
}

// ---- SHA-1 ----

#[test]
fn root_signed_with_sha1_signs() {
    require!("openssl");
    for key in [RSA, P256, P384] {
        let openssl = Openssl::new();
        openssl.ca("kubernetes", "kubernetes", key, "-sha1");
        assert!(openssl.certificate("kubernetes.crt").has_sha1_signature());
        let node = Node::due();
        sign_all(&node, &BY_CA, &openssl, "kubernetes");
        node.write(CA_CRT, openssl.pem("kubernetes.crt"));
        node.write(CA_KEY, openssl.pem("kubernetes.key"));
        trust_in_kubeconfigs(&node, &openssl.pem("kubernetes.crt"));
        assert_code(&node.run(&["renew"]), SUCCESS);
        assert_code(&node.run(&["check"]), SUCCESS);
        assert_eq!((state(&node, "apiserver"), reason(&node, "ca")), ("fresh".into(), "".into()));
    }
}

#[test]
fn leaf_signed_with_sha1_is_renewed_at_once() {
    require!("openssl");
    for key in [RSA, P256, P521] {
        let openssl = Openssl::new();
        openssl.ca("front", "front", key, "");
        let node = Node::due();
        node.write(FRONT_CA_CRT, openssl.pem("front.crt"));
        node.write(FRONT_CA_KEY, openssl.pem("front.key"));
        openssl.sign_pair(&node, "front-proxy-client", "front", 200, "sha1");
        assert_eq!(state(&node, "front-proxy-client"), "signed with SHA-1");
        let why = reason(&node, "front-proxy-client");
        assert!(
            why.starts_with("signed with SHA-1, which Kubernetes refuses from 1.24 on"),
            "{why}"
        );
        // An operator's hold defers what is due, and not this.
        assert_code(&node.run(&["hold", "--until", "2099-01-01", "--reason", "test"]), SUCCESS);
        let run = node.run(&["renew"]);
        assert!(run.text.contains("renewed    front-proxy-client"), "{}", run.text);
        let new = node.certificate("front-proxy-client");
        assert!(new.is_signed_by(&openssl.certificate("front.crt")) && !new.has_sha1_signature());
        assert_eq!(state(&node, "front-proxy-client"), "fresh");
        // What was replaced is not put back unasked.
        let restored = node.run(&["restore", "front-proxy-client"]);
        assert!(restored.text.contains("signed with SHA-1"), "{}", restored.text);
        assert!(!node.certificate("front-proxy-client").has_sha1_signature());
    }
}

/// The library has no SHA-1 for P-384.
#[test]
fn sha1_that_cannot_be_verified_is_an_error_with_advice() {
    require!("openssl");
    let openssl = Openssl::new();
    openssl.ca("front", "front", P384, "");
    let node = Node::due();
    node.write(FRONT_CA_CRT, openssl.pem("front.crt"));
    node.write(FRONT_CA_KEY, openssl.pem("front.key"));
    openssl.sign_pair(&node, "front-proxy-client", "front", 200, "sha1");
    let old = node.read("etc/kubernetes/pki/front-proxy-client.crt");
    let run = node.run(&["renew"]);
    assert_code(&run, PARTIAL);
    assert_eq!(node.read("etc/kubernetes/pki/front-proxy-client.crt"), old);
    assert_eq!(state(&node, "front-proxy-client"), "foreign issuer");
    let why = reason(&node, "front-proxy-client");
    assert!(why.contains("P-384") && why.contains("kubeadm certs renew"), "{why}");
    assert_eq!(alarm_ids(&node), ["renewal-failed"]);
}

/// Where a user chooses the file, SHA-1 says too little.
#[test]
fn sha1_of_a_user_is_renewed_only_for_the_known_subject() {
    require!("openssl");
    let openssl = Openssl::new();
    openssl.ca("front", "front", P256, "");
    for subject in ["/CN=front-proxy-client", "/CN=other"] {
        let node = Node::due();
        node.write(FRONT_CA_CRT, openssl.pem("front.crt"));
        node.write(FRONT_CA_KEY, openssl.pem("front.key"));
        let file = |kind: &str| format!("{PKI}/users/front-proxy-client.{kind}");
        openssl.run(&format!("genpkey {P256} -out leaf.key"));
        openssl.run(&format!("req -new -key leaf.key -subj {subject} -out leaf.csr"));
        openssl.run(
            "x509 -req -in leaf.csr -CA front.crt -CAkey front.key -sha1 -days 100 -out leaf.crt",
        );
        node.write(&file("crt"), openssl.pem("leaf.crt"));
        node.write(&file("key"), openssl.pem("leaf.key"));
        let dir = node.path(&format!("{PKI}/users"));
        fs::set_permissions(dir, PermissionsExt::from_mode(0o777)).unwrap();
        let pair = "/etc/kubernetes/pki/front-proxy-client.";
        node.edit(API_SERVER, pair, &pair.replace("front-proxy", "users/front-proxy"));
        node.run(&["renew"]);
        let is_known = subject == "/CN=front-proxy-client";
        let renewed = !node.certificate("front-proxy-client").has_sha1_signature();
        assert_eq!(renewed, is_known, "{subject}: {}", reason(&node, "front-proxy-client"));
    }
}

// ---- two tiers ----

/// A node with an external CA of two tiers: ca.crt is the root, and an intermediate signs.
struct TieredCa {
    node: Node,
    openssl: Openssl,
}

impl TieredCa {
    fn new() -> Self {
        let openssl = Openssl::new();
        openssl.ca("root", "root", P256, "");
        openssl.ca("middle", "root", P256, "");
        let node = Node::due();
        sign_all(&node, &BY_CA, &openssl, "root");
        node.write(CA_CRT, openssl.pem("root.crt"));
        node.remove(CA_KEY);
        Self { node, openssl }
    }

    /// Requests a certificate and has it signed by the intermediate: the file of the answer.
    fn answer(&self, name: &str, digest: &str) -> String {
        let run = self.node.run(&["csr", name]);
        assert_code(&run, SUCCESS);
        let from = run.text.find("-----BEGIN CERTIFICATE REQUEST-----").unwrap();
        let until = run.text.rfind("-----\n").unwrap() + 6;
        self.openssl.write("leaf.csr", &run.text[from..until]);
        self.openssl.run(&format!(
            "x509 -req -in leaf.csr -CA middle.crt -CAkey middle.key -days 365 -copy_extensions \
             copyall {digest} -out leaf.crt"
        ));
        self.openssl.pem("leaf.crt")
    }

    fn install(&self, name: &str, answer: &str) -> Run {
        self.openssl.write("answer.pem", answer);
        self.node.run(&["install", name, self.openssl.path("answer.pem").to_str().unwrap()])
    }
}

#[test]
fn answer_of_an_intermediate_is_installed_with_its_chain() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    let (middle, root) = (openssl.pem("middle.crt"), openssl.pem("root.crt"));
    let leaf = tiers.answer("apiserver", "");
    // The root needs no place in the chain, and the order does not matter.
    assert_code(&tiers.install("apiserver", &(leaf.clone() + &root + &middle)), SUCCESS);
    assert_eq!(node.text("etc/kubernetes/pki/apiserver.crt"), leaf.clone() + &middle);
    openssl.write("served.crt", node.read("etc/kubernetes/pki/apiserver.crt"));
    assert!(openssl.verifies("-CAfile root.crt -untrusted served.crt", "served.crt"));
    let found = checked(node, "apiserver");
    assert_eq!((&found["state"], &found["externallyManaged"]), (&"fresh".into(), &true.into()));

    let leaf = tiers.answer("admin.conf", "");
    assert_code(&tiers.install("admin.conf", &(leaf.clone() + &middle)), SUCCESS);
    let admin = node.text("etc/kubernetes/admin.conf");
    let data = admin.lines().find_map(|line| line.split_once("client-certificate-data: "));
    use base64::Engine as _;
    let data = base64::prelude::BASE64_STANDARD.decode(data.unwrap().1).unwrap();
    assert_eq!(String::from_utf8(data).unwrap(), leaf + &middle);
    assert_eq!(state(node, "admin.conf"), "fresh");
    assert_code(&node.run(&["renew"]), SUCCESS);
    // A backup with the chain is restored, and the one before it.
    assert_code(&node.run(&["restore", "apiserver"]), SUCCESS);
}

#[test]
fn answer_of_an_intermediate_without_its_chain_is_refused() {
    require!("openssl");
    let tiers = TieredCa::new();
    let before = tiers.node.read("etc/kubernetes/pki/apiserver.crt");
    let openssl = &tiers.openssl;
    let leaf = tiers.answer("apiserver", "");
    let alone = tiers.install("apiserver", &leaf);
    assert_code(&alone, FAILED);
    let advice = "append the intermediate to the file";
    assert!(alone.text.contains(advice), "{}", alone.text);
    // An intermediate of the same name and another key.
    let middle = openssl.pem("middle.crt");
    openssl.ca("middle", "middle", P256, "");
    let foreign = leaf.clone() + &openssl.pem("middle.crt");
    assert_code(&tiers.install("apiserver", &foreign), FAILED);
    assert_eq!(tiers.node.read("etc/kubernetes/pki/apiserver.crt"), before);
    assert_code(&tiers.install("apiserver", &(leaf + &middle)), SUCCESS);
}

#[test]
fn answer_signed_with_sha1_is_refused() {
    require!("openssl");
    let tiers = TieredCa::new();
    let before = tiers.node.read("etc/kubernetes/pki/apiserver.crt");
    let middle = tiers.openssl.pem("middle.crt");
    let run = tiers.install("apiserver", &(tiers.answer("apiserver", "-sha1") + &middle));
    assert_code(&run, FAILED);
    assert!(run.text.contains("signed with SHA-1"), "{}", run.text);
    // Neither may the intermediate be.
    tiers.openssl.certify("middle", "root", "-sha1");
    let middle = tiers.openssl.pem("middle.crt");
    assert_code(&tiers.install("apiserver", &(tiers.answer("apiserver", "") + &middle)), FAILED);
    assert_eq!(tiers.node.read("etc/kubernetes/pki/apiserver.crt"), before);
}

/// The chain that is in place decides, whatever made it.
#[test]
fn leaf_below_external_root_is_external_only_with_its_chain() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    openssl.sign_pair(node, "apiserver", "middle", 10, "sha256");
    let (file, leaf) = ("etc/kubernetes/pki/apiserver.crt", openssl.pem("signed.crt"));
    assert_eq!(state(node, "apiserver"), "foreign issuer");
    node.write(file, leaf.clone() + &openssl.pem("middle.crt"));
    let found = checked(node, "apiserver");
    assert_eq!((&found["state"], &found["action"]), (&"due".into(), &"report".into()));
    assert!(reason(node, "apiserver").contains("external: "), "{found}");
    assert_code(&node.run(&["check"]), ATTENTION);
    node.run(&["renew"]);
    assert!(alarm_ids(node).contains(&"authority-external".to_owned()));
    assert_eq!(node.text(file), leaf + &openssl.pem("middle.crt"));
}

/// The root's key is here, and the intermediate's is not.
#[test]
fn leaf_of_an_intermediate_is_not_signed_by_its_root() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    node.write(CA_KEY, openssl.pem("root.key"));
    openssl.sign_pair(node, "apiserver", "middle", 10, "sha256");
    let file = "etc/kubernetes/pki/apiserver.crt";
    let chain = openssl.pem("signed.crt") + &openssl.pem("middle.crt");
    node.write(file, &chain);
    node.run(&["renew"]);
    assert_eq!(node.text(file), chain);
    let why = reason(node, "apiserver");
    assert!(why.contains("an intermediate CA signed it (CN=middle)"), "{why}");
    let answer = tiers.answer("apiserver", "") + &openssl.pem("middle.crt");
    assert_code(&tiers.install("apiserver", &answer), SUCCESS);
}

// ---- keys by other names ----

/// cfssl and kubespray: ca.pem and ca-key.pem, here for everything.
#[test]
fn one_ca_named_as_cfssl_does_it_signs_everything() {
    let openssl = Openssl::new();
    let node = Node::due();
    let (certificate, key) = (node.read(CA_CRT), node.read(CA_KEY));
    openssl.write("one.crt", &certificate);
    openssl.write("one.key", &key);
    sign_all(&node, &BY_ETCD_CA, &openssl, "one");
    sign_all(&node, &["front-proxy-client"], &openssl, "one");
    node.write(&format!("{PKI}/ca.pem"), &certificate);
    node.write(&format!("{PKI}/ca-key.pem"), &key);
    for file in [CA_CRT, CA_KEY, ETCD_CA_CRT, ETCD_CA_KEY, FRONT_CA_CRT, FRONT_CA_KEY] {
        node.remove(file);
    }
    for manifest in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        let file = format!("etc/kubernetes/manifests/{manifest}.yaml");
        let text = node.text(&file);
        let names = ["/pki/etcd/ca.crt", "/pki/front-proxy-ca.crt", "/pki/ca.crt"];
        let text = names.iter().fold(text, |text, name| text.replace(name, "/pki/ca.pem"));
        // No flag names the key.
        node.write(&file, text.replace("--cluster-signing-key-file=", "--no-such-flag="));
    }
    node.backdate_manifests();
    assert_code(&node.run(&["renew"]), SUCCESS);
    let ca = &certificates(&certificate).unwrap()[0];
    for name in BY_CA.iter().chain(&BY_ETCD_CA).chain(&["front-proxy-client"]) {
        assert_eq!(state(&node, name), "fresh", "{name}");
        assert!(node.certificate(name).is_signed_by(ca), "{name}");
    }
    let etcd = reason(&node, "etcd-ca");
    let open = "it is the same CA as ca: each client certificate that ca signs may read and write \
        all of etcd";
    assert!(etcd.contains(open), "{etcd}");
    assert!(reason(&node, "front-proxy-ca").contains("may act as any user"));
    assert_eq!(reason(&node, "ca"), "");
    let check = node.run(&["check"]);
    assert_code(&check, SUCCESS);
    assert!(check.text.contains("etcd-ca: it is the same CA as ca"), "{}", check.text);
}

/// A node where etcd's CA is a copy of the cluster's certificate without the key.
fn node_with_copied_ca() -> Node {
    let openssl = Openssl::new();
    let node = Node::due();
    openssl.write("one.crt", node.read(CA_CRT));
    openssl.write("one.key", node.read(CA_KEY));
    sign_all(&node, &BY_ETCD_CA, &openssl, "one");
    node.write(ETCD_CA_CRT, node.read(CA_CRT));
    node.remove(ETCD_CA_KEY);
    node
}

#[test]
fn key_of_the_same_ca_is_found_under_its_other_name() {
    let node = node_with_copied_ca();
    assert_code(&node.run(&["renew"]), SUCCESS);
    assert_eq!(state(&node, "etcd-ca"), "usable");
    for name in BY_ETCD_CA {
        assert_eq!(state(&node, name), "fresh", "{name}");
    }
    // The other way round.
    let node = node_with_copied_ca();
    node.write(ETCD_CA_KEY, node.read(CA_KEY));
    node.remove(CA_KEY);
    assert_code(&node.run(&["renew"]), SUCCESS);
    assert_eq!(state(&node, "apiserver"), "fresh");
}

/// A CA certificate is public: a user who puts it into a directory gets no signature for that.
#[test]
fn key_of_another_ca_does_not_sign_for_a_users_directory() {
    for mode in [0o777, 0o775] {
        let node = node_with_copied_ca();
        let dir = node.path("etc/kubernetes/pki/etcd");
        fs::set_permissions(&dir, PermissionsExt::from_mode(mode)).unwrap();
        let old = node.read("etc/kubernetes/pki/etcd/server.crt");
        node.run(&["renew"]);
        assert_eq!(state(&node, "etcd-ca"), "external");
        assert_eq!(node.read("etc/kubernetes/pki/etcd/server.crt"), old);
        assert_eq!(state(&node, "apiserver"), "fresh", "the CA itself is not affected");
        // Nor does a link there lead to the key.
        let key = node.path(CA_KEY);
        std::os::unix::fs::symlink(key, node.path("etc/kubernetes/pki/etcd/ca-key.pem")).unwrap();
        node.run(&["renew"]);
        assert_eq!(node.read("etc/kubernetes/pki/etcd/server.crt"), old);
        assert_ne!(state(&node, "etcd-ca"), "usable");
        assert_eq!(state(&node, "ca"), "usable");
    }
}

/// The key fits, and the certificate is another one.
#[test]
fn key_of_another_ca_signs_only_for_the_very_same_certificate() {
    require!("openssl");
    let node = node_with_copied_ca();
    let openssl = Openssl::new();
    openssl.write("kubernetes.key", node.read(CA_KEY));
    openssl.certify("kubernetes", "kubernetes", "");
    node.write(ETCD_CA_CRT, openssl.pem("kubernetes.crt"));
    node.run(&["renew"]);
    assert_eq!(state(&node, "etcd-ca"), "external");
}

#[test]
fn fitting_signing_key_counts_beside_a_stale_ca_key() {
    let node = Node::due();
    node.write(&format!("{PKI}/signer.key"), node.read(CA_KEY));
    node.write(CA_KEY, node.read(FRONT_CA_KEY));
    assert_eq!(state(&node, "ca"), "key unusable");
    node.edit(CONTROLLER_MANAGER, "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/signer.key");
    assert_eq!(state(&node, "ca"), "usable");
    assert_code(&node.run(&["renew"]), SUCCESS);
    assert_eq!(state(&node, "apiserver"), "fresh");
}

#[test]
fn unrelated_ca_crt_is_not_the_ca_of_a_bundle_elsewhere() {
    require!("openssl");
    let openssl = Openssl::new();
    openssl.ca("other", "other", P256, "");
    let node = Node::due();
    let certificate = node.read(CA_CRT);
    node.write(&format!("{PKI}/cluster.pem"), &certificate);
    node.write(&format!("{PKI}/cluster-key.pem"), node.read(CA_KEY));
    node.edit(
        API_SERVER,
        "--client-ca-file=/etc/kubernetes/pki/ca.crt",
        "--client-ca-file=/etc/kubernetes/pki/cluster.pem",
    );
    assert_eq!(checked(&node, "ca")["file"], "/etc/kubernetes/pki/ca.crt", "one of its CAs");
    node.write(CA_CRT, openssl.pem("other.crt"));
    node.write(CA_KEY, openssl.pem("other.key"));
    assert_eq!(checked(&node, "ca")["file"], "/etc/kubernetes/pki/cluster.pem");
    assert_code(&node.run(&["renew"]), SUCCESS);
    assert!(node.certificate("apiserver").is_signed_by(&certificates(&certificate).unwrap()[0]));
}

#[test]
fn external_ca_is_judged_by_the_first_ca_of_its_file() {
    let node = Node::due();
    node.write(CA_CRT, node.text("etc/kubernetes/pki/apiserver.crt") + &node.text(CA_CRT));
    node.remove(CA_KEY);
    assert_eq!((state(&node, "ca"), state(&node, "apiserver")), ("external".into(), "due".into()));
    assert_code(&node.run(&["renew"]), SUCCESS);
}

#[test]
fn separate_cas_have_no_notes() {
    let node = Node::due();
    for name in ["ca", "etcd-ca", "front-proxy-ca"] {
        assert_eq!(reason(&node, name), "", "{name}");
    }
}

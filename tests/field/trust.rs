//! Which CA signs, and which CA certificates the kubeconfigs of the node trust.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kubecertd::formats::x509::{Certificate, PrivateKey, Terms, certificates, reissue};
use kubecertd::model::days;
use serde_json::Value;

use super::common::requirements::require;
use super::common::{CA_CRT, CA_KEY, ECDSA, Node, RSA, fixture, now, terms_with_days_left};
use super::support::{self, json};

const APISERVER: &str = "etc/kubernetes/pki/apiserver.crt";
const CONFS: [&str; 4] =
    ["admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf"];

/// The exit code of a pass that renewed nothing of what was asked for.
const FAILED: i32 = 1;
/// The exit code of a pass that left something to an operator.
const PARTIAL: i32 = 4;
/// The exit code of a check that found something.
const ATTENTION: i32 = 3;

fn conf(name: &str) -> String {
    format!("etc/kubernetes/{name}")
}

/// The CA certificates that a kubeconfig embeds, in PEM.
fn trusted(node: &Node, kubeconfig: &str) -> String {
    let text = node.text(kubeconfig);
    let data =
        text.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data: "));
    String::from_utf8(BASE64_STANDARD.decode(data.unwrap()).unwrap()).unwrap()
}

fn set_trusted(node: &Node, kubeconfig: &str, pem: &str) {
    let old = BASE64_STANDARD.encode(trusted(node, kubeconfig));
    node.edit(kubeconfig, &old, &BASE64_STANDARD.encode(pem));
}

/// An entry of a list in the JSON, by one of its fields.
fn entry(json: &Value, list: &str, field: &str, value: &str) -> Value {
    let all = json[list].as_array().unwrap();
    let found = all.iter().find(|one| one[field] == value);
    found.unwrap_or_else(|| panic!("no {value} in {list}: {json}")).clone()
}

fn state_of(node: &Node, kubeconfig: &str) -> (String, bool) {
    let entry = entry(&json(node), "kubeconfigs", "file", &format!("/{kubeconfig}"));
    (entry["state"].as_str().unwrap().to_owned(), entry["attention"].as_bool().unwrap())
}

/// The ids of the alarms in force after a pass of the daemon's kind, each with what it is about.
fn alarms(node: &Node) -> Vec<(String, Vec<String>)> {
    let about = |one: &Value| {
        let about = one["about"].as_array().unwrap().iter();
        about.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let all = support::alarms(node);
    all.iter().map(|one| (one["id"].as_str().unwrap().to_owned(), about(one))).collect()
}

fn alarm(node: &Node, id: &str) -> Vec<String> {
    let found = alarms(node).into_iter().find(|(known, _)| known == id);
    found.map(|(_, about)| about).unwrap_or_default()
}

/// Puts a new CA in front of the old one in ca.crt, with its key, as after a replacement that went
/// half the way.
fn replace_ca(node: &Node) -> String {
    let new = fixture(RSA);
    let both = String::from_utf8(new[CA_CRT].clone()).unwrap() + &node.text(CA_CRT);
    node.write(CA_CRT, &both);
    node.write(CA_KEY, &new[CA_KEY]);
    both
}

/// Has the CA `ca` sign a credential again.
fn sign(node: &Node, name: &str, ca: &(Certificate, PrivateKey), days_left: i64) {
    node.sign_with(name, &ca.0, &ca.1, days_left);
}

fn ca_of(node: &Node) -> (Certificate, PrivateKey) {
    (
        certificates(&node.read(CA_CRT)).unwrap().remove(0),
        PrivateKey::from_pem(&node.read(CA_KEY)).unwrap(),
    )
}

const OF_CA: [&str; 6] = [
    "apiserver",
    "apiserver-kubelet-client",
    "admin.conf",
    "super-admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
];

#[test]
fn due_credential_keeps_its_ca() {
    let node = Node::due();
    replace_ca(&node);
    let files = [APISERVER.to_owned(), conf("admin.conf"), conf("scheduler.conf")];
    let before = files.clone().map(|file| node.read(&file));
    let run = node.run(&["renew"]);
    assert_eq!(run.code, PARTIAL, "{}", run.text);
    assert_eq!(files.clone().map(|file| node.read(&file)), before);
    for words in ["issued by the CA CN=kubernetes (serial ", "signs as another CA in"] {
        assert!(run.text.contains(words), "{}", run.text);
    }
    // What another CA signs is renewed as ever.
    assert!(node.certificate("etcd/server").not_after > node.certificate("apiserver").not_after);
    let forced = node.run(&["renew", "apiserver", "--force"]);
    assert_eq!((forced.code, node.read(APISERVER)), (FAILED, before[0].clone()), "{}", forced.text);
    let failed = alarm(&node, "renewal-failed");
    assert!(OF_CA.iter().all(|name| failed.contains(&(*name).to_owned())), "{failed:?}");
    assert_eq!(entry(&json(&node), "certificates", "credential", "apiserver")["state"], "due");
    assert_eq!(node.run(&["check"]).code, ATTENTION);
}

#[test]
fn fresh_credential_of_an_earlier_ca_is_shown() {
    let node = Node::fresh(ECDSA);
    replace_ca(&node);
    let check = node.run(&["check"]);
    assert_eq!(check.code, 0, "{}", check.text);
    assert!(check.text.contains("apiserver: expires in"), "{}", check.text);
    let shown = entry(&json(&node), "certificates", "credential", "apiserver");
    assert_eq!((&shown["state"], &shown["action"]), (&"fresh".into(), &"report".into()));
    let before = node.read(APISERVER);
    assert_eq!(node.run(&["renew", "apiserver", "--force"]).code, FAILED);
    assert_eq!(node.read(APISERVER), before);
    // Foreign is only what no CA of the file signed.
    node.write(CA_CRT, &fixture(RSA)[CA_CRT]);
    let shown = entry(&json(&node), "certificates", "credential", "apiserver");
    assert_eq!(shown["state"], "foreign issuer");
}

#[test]
fn urgent_credential_goes_over_with_the_trust_of_kubeconfigs() {
    let node = Node::fresh(ECDSA);
    let old = ca_of(&node);
    sign(&node, "apiserver", &old, 1);
    sign(&node, "scheduler.conf", &old, 1);
    let both = replace_ca(&node);
    let admin = node.text(&conf("admin.conf"));
    let data = BASE64_STANDARD.encode(trusted(&node, &conf("admin.conf")));
    let run = node.run(&["renew"]);
    let new = ca_of(&node).0;
    for name in ["apiserver", "scheduler.conf"] {
        assert!(node.certificate(name).is_signed_by(&new), "{name}: {}", run.text);
    }
    for name in CONFS {
        assert_eq!(trusted(&node, &conf(name)), both, "{name}");
        assert_eq!(state_of(&node, &conf(name)), ("trusted".to_owned(), false));
    }
    // Nothing else of a kubeconfig changed that was not renewed.
    let expected = admin.replace(&data, &BASE64_STANDARD.encode(&both));
    assert_eq!(node.text(&conf("admin.conf")), expected);
    assert!(
        run.text.contains(
            "/etc/kubernetes/admin.conf: gets the CA certificates of /etc/kubernetes/pki/ca.crt"
        ),
        "{}",
        run.text
    );
    assert_eq!(alarm(&node, "kubeconfig-trust"), Vec::<String>::new());
    assert!(node.backups().contains(admin.as_bytes()), "the old admin.conf is backed up");
    assert_eq!(node.dot_files(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn trust_of_kubeconfigs_keeps_further_cas_and_other_servers() {
    let node = Node::fresh(ECDSA);
    let old = ca_of(&node);
    sign(&node, "apiserver", &old, 1);
    let front = node.text("etc/kubernetes/pki/front-proxy-ca.crt");
    let both = replace_ca(&node);
    let further = trusted(&node, &conf("admin.conf")) + &front;
    set_trusted(&node, &conf("admin.conf"), &further);
    set_trusted(&node, &conf("scheduler.conf"), &front);
    node.run(&["renew"]);
    assert_eq!(trusted(&node, &conf("admin.conf")), both + &front);
    assert_eq!(trusted(&node, &conf("scheduler.conf")), front);
}

/// What is made again has no issuer before, and other clients of it have to trust its new one.
#[test]
fn lost_credential_goes_over_with_the_trust_of_kubeconfigs() {
    let node = Node::fresh(ECDSA);
    let both = replace_ca(&node);
    for file in ["apiserver.crt", "apiserver.key"] {
        node.remove(&format!("etc/kubernetes/pki/{file}"));
    }
    node.backdate_files();
    let run = node.run(&["renew"]);
    assert!(node.certificate("apiserver").is_signed_by(&ca_of(&node).0), "{}", run.text);
    for name in CONFS {
        assert_eq!(trusted(&node, &conf(name)), both, "{name}: {}", run.text);
    }
}

/// The renewal of another user of the file and the trust are changes of one file.
#[test]
fn trust_reaches_a_kubeconfig_whose_other_user_is_renewed() {
    let node = Node::fresh(ECDSA);
    let (ca, file) = (ca_of(&node), conf("admin.conf"));
    let text = node.text(&file);
    let users = text.split_once("users:\n").unwrap().1;
    let user = users.replace("name: kubernetes-admin", "name: other");
    node.write(&file, format!("{}\n{user}", text.trim_end()));
    let entry = format!(
        "[[credential]]\nname = \"other\"\nca = \"ca\"\nkubeconfig = \"/{file}\"\nuser = \
         \"other\"\n"
    );
    node.write("etc/kubecertd/kubecertd.toml", entry);
    sign(&node, "other", &ca, 1);
    let both = replace_ca(&node);
    let run = node.run(&["renew"]);
    assert!(node.certificate("other").is_signed_by(&ca_of(&node).0), "{}", run.text);
    assert_eq!(trusted(&node, &file), both, "{}", run.text);
}

#[test]
fn kubeconfig_that_can_not_be_changed_holds_up_nothing() {
    let node = Node::fresh(ECDSA);
    let old = ca_of(&node);
    sign(&node, "apiserver", &old, 1);
    replace_ca(&node);
    let scheduler = conf("scheduler.conf");
    node.edit(&scheduler, "certificate-authority-data: ", "certificate-authority-data: !!str ");
    let run = node.run(&["renew"]);
    assert!(node.certificate("apiserver").is_signed_by(&ca_of(&node).0), "{}", run.text);
    assert!(run.text.contains("scheduler.conf: does not trust CN=kubernetes"), "{}", run.text);
    assert_eq!(alarm(&node, "kubeconfig-trust"), ["/etc/kubernetes/scheduler.conf"]);
    assert_eq!(state_of(&node, &scheduler), ("not trusted".to_owned(), true));
}

/// A user who can write ca.crt could have the kubeconfigs of root trust any CA.
#[test]
fn ca_file_that_others_can_write_reaches_no_kubeconfig() {
    let node = Node::fresh(ECDSA);
    let old = ca_of(&node);
    sign(&node, "apiserver", &old, 1);
    replace_ca(&node);
    std::fs::set_permissions(node.path(CA_CRT), PermissionsExt::from_mode(0o666)).unwrap();
    let before = CONFS.map(|name| node.read(&conf(name)));
    let run = node.run(&["renew"]);
    assert_eq!(CONFS.map(|name| node.read(&conf(name))), before);
    let note = "/etc/kubernetes/pki/ca.crt is writable by others than root";
    assert!(run.text.contains(note), "{}", run.text);
}

#[test]
fn ca_of_etcd_leaves_the_kubeconfigs_alone() {
    let node = Node::fresh(ECDSA);
    let stem = "etc/kubernetes/pki/etcd/ca";
    let (certificate, key) = (format!("{stem}.crt"), format!("{stem}.key"));
    let new = fixture(RSA);
    let old = (
        certificates(&node.read(&certificate)).unwrap().remove(0),
        PrivateKey::from_pem(&node.read(&key)).unwrap(),
    );
    sign(&node, "etcd/server", &old, 1);
    node.write(&certificate, [new[&certificate].clone(), node.read(&certificate)].concat());
    node.write(&key, &new[&key]);
    let before = CONFS.map(|name| node.read(&conf(name)));
    node.run(&["renew"]);
    let signer = certificates(&new[&certificate]).unwrap().remove(0);
    assert!(node.certificate("etcd/server").is_signed_by(&signer));
    assert_eq!(CONFS.map(|name| node.read(&conf(name))), before);
}

/// The CA again with another end: same key, same name, same key identifier.
fn extended(node: &Node, days_left: i64) -> Certificate {
    let (ca, key) = ca_of(node);
    let terms = Terms { not_before: now().minus(days(30)), ..terms_with_days_left(days_left) };
    let der = reissue(&ca, &ca, &key, &key, &terms).unwrap();
    Certificate::from_der(&der).unwrap()
}

#[test]
fn ca_extended_with_its_key_leaves_an_old_one_in_kubeconfigs() {
    let node = Node::due();
    let (short, long) = (extended(&node, 11).to_pem(), extended(&node, 3000).to_pem());
    for name in CONFS {
        set_trusted(&node, &conf(name), &short);
    }
    node.write(CA_CRT, &long);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "no change of the issuing key: {}", run.text);
    let about = CONFS.map(|name| format!("/{}", conf(name)));
    let mut alarmed = alarm(&node, "kubeconfig-trust");
    alarmed.sort();
    let mut expected = about.to_vec();
    expected.sort();
    assert_eq!(alarmed, expected);
    for name in CONFS {
        assert_eq!(state_of(&node, &conf(name)), ("expires soon".to_owned(), true));
    }
    for format in ["table", "wide"] {
        let check = node.run(&["check", "-o", format]);
        assert_eq!(check.code, ATTENTION);
        assert!(check.text.contains("certificate-authority-data"), "{}", check.text);
        assert!(check.text.contains("expires soon"), "{}", check.text);
    }
    // The alarm ends with its cause.
    for name in CONFS {
        set_trusted(&node, &conf(name), &long);
    }
    node.run(&["renew"]);
    assert_eq!(alarm(&node, "kubeconfig-trust"), Vec::<String>::new());
    assert_eq!(node.run(&["check"]).code, 0);
}

#[test]
fn both_certificates_of_one_key_are_one_ca() {
    let node = Node::due();
    let both = extended(&node, 100).to_pem() + &extended(&node, 3000).to_pem();
    node.write(CA_CRT, &both);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
}

#[test]
fn kubeconfig_of_a_replaced_ca_is_alarmed() {
    let node = Node::fresh(ECDSA);
    let other = String::from_utf8(fixture(RSA)[CA_CRT].clone()).unwrap();
    set_trusted(&node, &conf("scheduler.conf"), &other);
    node.run(&["renew"]);
    assert_eq!(alarm(&node, "kubeconfig-trust"), ["/etc/kubernetes/scheduler.conf"]);
    assert_eq!(state_of(&node, &conf("scheduler.conf")), ("not trusted".to_owned(), true));
    assert_eq!(state_of(&node, &conf("admin.conf")), ("trusted".to_owned(), false));
}

#[test]
fn kubeconfig_of_another_server_is_not_alarmed() {
    let node = Node::fresh(ECDSA);
    let front = node.text("etc/kubernetes/pki/front-proxy-ca.crt");
    let server = |file: &str| {
        let text = node.text(file);
        let line = text.lines().find_map(|line| line.trim().strip_prefix("server: "));
        line.unwrap().to_owned()
    };
    let scheduler = conf("scheduler.conf");
    set_trusted(&node, &scheduler, &front);
    node.edit(&scheduler, &server(&scheduler), "https://api.example.com:8443");
    assert_eq!(state_of(&node, &scheduler), ("other server".to_owned(), false));
    // Of another cluster, whose CA has the same name.
    let other = String::from_utf8(fixture(RSA)[CA_CRT].clone()).unwrap();
    set_trusted(&node, &scheduler, &other);
    assert_eq!(state_of(&node, &scheduler), ("other server".to_owned(), false));
    // No certificate-authority: what the system trusts.
    let data = BASE64_STANDARD.encode(other);
    node.edit(
        &scheduler,
        &format!("certificate-authority-data: {data}"),
        "insecure-skip-tls-verify: true",
    );
    assert_eq!(state_of(&node, &scheduler), ("none".to_owned(), false));
    node.run(&["renew"]);
    assert_eq!(alarm(&node, "kubeconfig-trust"), Vec::<String>::new());
}

#[test]
fn ca_file_of_a_kubeconfig_is_watched() {
    let node = Node::fresh(ECDSA);
    let scheduler = conf("scheduler.conf");
    let data = BASE64_STANDARD.encode(trusted(&node, &scheduler));
    node.edit(
        &scheduler,
        &format!("certificate-authority-data: {data}"),
        "certificate-authority: pki/ca.crt",
    );
    assert_eq!(state_of(&node, &scheduler), ("trusted".to_owned(), false));
    node.write("etc/kubernetes/pki/old.crt", &fixture(RSA)[CA_CRT]);
    node.edit(&scheduler, "pki/ca.crt", "pki/old.crt");
    assert_eq!(state_of(&node, &scheduler), ("not trusted".to_owned(), true));
    node.remove("etc/kubernetes/pki/old.crt");
    assert_eq!(state_of(&node, &scheduler), ("unreadable".to_owned(), true));
}

/// Makes the CA again with openssl: same key and the same name in other bytes, or another key
/// identifier.
fn again(node: &Node, arguments: &[&str], extensions: &str) {
    node.write("ca.cnf", format!("[req]\ndistinguished_name=d\n[d]\n[e]\n{extensions}"));
    let status = Command::new("openssl")
        .args(["req", "-x509", "-new", "-subj", "/CN=kubernetes", "-days", "3000"])
        .args(["-extensions", "e", "-config"])
        .arg(node.path("ca.cnf"))
        .arg("-key")
        .arg(node.path(CA_KEY))
        .arg("-out")
        .arg(node.path(CA_CRT))
        .args(arguments)
        .status();
    assert!(status.unwrap().success());
}

const CA_EXTENSIONS: &str = "\
    basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature,keyCertSign\n";

#[test]
fn root_in_other_bytes_signs_nothing() {
    require!("openssl");
    let node = Node::due();
    node.age("apiserver", 1);
    let identifier = ca_of(&node).0.subject_key_identifier.unwrap();
    let hex: String = identifier.iter().map(|byte| format!("{byte:02X}")).collect();
    // kubeadm writes a PrintableString.
    again(&node, &["-utf8"], &format!("{CA_EXTENSIONS}subjectKeyIdentifier={hex}\n"));
    let before = OF_CA.map(|name| node.certificate(name).fingerprint);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, PARTIAL, "{}", run.text);
    assert_eq!(OF_CA.map(|name| node.certificate(name).fingerprint), before);
    let json = json(&node);
    let authority = entry(&json, "certificateAuthorities", "name", "ca");
    assert_eq!(
        (&authority["state"], &authority["attention"]),
        (&"key unusable".into(), &true.into())
    );
    assert!(authority["reason"].as_str().unwrap().contains("in other bytes"), "{authority}");
    let failed = alarm(&node, "renewal-failed");
    assert!(OF_CA.iter().all(|name| failed.contains(&(*name).to_owned())), "{failed:?}");
}

#[test]
fn root_with_another_key_identifier_is_another_ca() {
    let node = Node::due();
    node.age("apiserver", 1);
    let old = trusted(&node, &conf("admin.conf"));
    node.write("old.crt", node.read(CA_CRT));
    let name = ca_of(&node).0.subject;
    let (ca, key) = ca_of(&node);
    let params = rcgen_ca(&key);
    node.write(CA_CRT, params.to_pem());
    assert_eq!((ca_of(&node).0.subject, &ca.subject), (name.clone(), &name));
    let run = node.run(&["renew"]);
    assert_eq!(run.code, PARTIAL, "{}", run.text);
    assert!(run.text.contains("another key identifier"), "{}", run.text);
    let new = ca_of(&node).0;
    assert!(node.certificate("apiserver").verifies_by(&new), "it is urgent: {}", run.text);
    assert!(!node.certificate("admin.conf").verifies_by(&new));
    assert_eq!(trusted(&node, &conf("admin.conf")), new.to_pem() + &old);
}

/// The CA with another subject key identifier, and the name as kubeadm writes it.
fn rcgen_ca(key: &PrivateKey) -> Certificate {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = rcgen::DnValue::PrintableString("kubernetes".try_into().unwrap());
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(b"another".to_vec());
    let pem = String::from_utf8(key.to_pem().unwrap().expose().to_vec()).unwrap();
    let key = rcgen::KeyPair::from_pem(&pem).unwrap();
    Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
}

#[test]
fn served_intermediates_lead_to_the_ca() {
    require!("openssl");
    let node = Node::fresh(ECDSA);
    let script = "cd $DIR
        printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' >ca.ext
        printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:server\n' >leaf.ext
        for name in inter leaf; do
            openssl ecparam -name prime256v1 -genkey -noout -out $name.key
        done
        openssl req -new -key inter.key -subj /CN=inter | openssl x509 -req -CA $CA -CAkey $KEY \
            -days 300 -extfile ca.ext -out inter.crt
        openssl req -new -key leaf.key -subj /CN=server | openssl x509 -req -CA inter.crt \
            -CAkey inter.key -days 30 -extfile leaf.ext -out leaf.crt
        cat leaf.crt inter.crt >chain.crt";
    let made = Command::new("sh")
        .args(["-ec", script])
        .env("DIR", node.root())
        .env("CA", node.path(CA_CRT))
        .env("KEY", node.path(CA_KEY))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let run = node.run(&["ca", "verify", "/chain.crt"]);
    assert_eq!(run.code, 0, "{}", run.text);
    for (chain, expected) in [(true, 0), (false, ATTENTION)] {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-accept", &address]);
        command.arg("-cert").arg(node.path("leaf.crt")).arg("-key").arg(node.path("leaf.key"));
        if chain {
            command.arg("-cert_chain").arg(node.path("inter.crt"));
        }
        let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "openssl does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let run = node.run(&["ca", "verify", &address]);
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(run.code, expected, "{}", run.text);
        assert_eq!(run.text.contains("by way of CN=inter"), chain, "{}", run.text);
    }
}

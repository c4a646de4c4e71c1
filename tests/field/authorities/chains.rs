//! Chains as Go builds and judges them: cross-signed and expired CA certificates, path lengths.

use kubecertd::formats::x509::reissue;

use super::*;
use crate::common::{ECDSA, fixture, terms_with_days_left};

const APISERVER: &str = "etc/kubernetes/pki/apiserver.crt";

impl Openssl {
    /// The certificate of a CA again, with this many days left, in PEM.
    fn aged(&self, name: &str, by: &str, days_left: i64) -> String {
        let (own, issuer) = (format!("{name}.crt"), format!("{by}.crt"));
        let terms = terms_with_days_left(days_left);
        let (own, issuer) = (self.certificate(&own), self.certificate(&issuer));
        let (key, issuer_key) = (self.ca_key(name), self.ca_key(by));
        let der = reissue(&own, &issuer, &issuer_key, &key, &terms).unwrap();
        Certificate::from_der(&der).unwrap().to_pem()
    }
}

/// An intermediate has a second certificate, by a root that is not trusted here.
#[test]
fn cross_signed_intermediate_leads_to_the_anchor_in_any_order() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    let middle = openssl.pem("middle.crt");
    openssl.ca("other", "other", P256, "");
    openssl.certify("middle", "other", "");
    let crossed = openssl.pem("middle.crt");
    openssl.write("middle.crt", &middle);
    let old = node.read(APISERVER);
    for chain in [middle.clone() + &crossed, crossed.clone() + &middle] {
        node.write(APISERVER, &old);
        let leaf = tiers.answer("apiserver", "");
        assert_code(&tiers.install("apiserver", &(leaf.clone() + &chain)), SUCCESS);
        assert_eq!(node.text(APISERVER), leaf.clone() + &middle);
        node.write(APISERVER, leaf + &chain);
        assert_eq!(state(node, "apiserver"), "fresh");
    }
}

/// Of two certificates of an intermediate the valid one counts.
#[test]
fn valid_intermediate_counts_beside_an_expired_one() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    let (middle, expired) = (openssl.pem("middle.crt"), openssl.aged("middle", "root", -1));
    let leaf = tiers.answer("apiserver", "");
    assert_code(&tiers.install("apiserver", &(leaf.clone() + &expired + &middle)), SUCCESS);
    assert_eq!(node.text(APISERVER), leaf.clone() + &middle);
    node.write(APISERVER, leaf + &expired + &middle);
    assert_eq!(state(node, "apiserver"), "fresh");
    assert_code(&node.run(&["ca", "verify", &format!("/{APISERVER}")]), SUCCESS);
}

#[test]
fn leaf_is_of_no_use_when_its_intermediate_has_expired() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    let leaf = tiers.answer("apiserver", "");
    let middle = openssl.pem("middle.crt");
    assert_code(&tiers.install("apiserver", &(leaf.clone() + &middle)), SUCCESS);
    for (days_left, expected) in [(200, "fresh"), (10, "due"), (2, "urgent"), (-1, "expired")] {
        node.write(APISERVER, leaf.clone() + &openssl.aged("middle", "root", days_left));
        let found = checked(node, "apiserver");
        assert_eq!((&found["state"], &found["action"] == "renew"), (&expected.into(), false));
        let why = reason(node, "apiserver");
        assert!(why.contains("with a CA certificate above it"), "{why}");
        let verify = node.run(&["ca", "verify", &format!("/{APISERVER}")]);
        assert_code(&verify, if days_left < 0 { ATTENTION } else { SUCCESS });
        if days_left < 0 {
            assert!(verify.text.contains("by way of CN=middle"), "{}", verify.text);
        }
    }
    assert_code(&node.run(&["check"]), ATTENTION);
    node.run(&["renew"]);
    assert!(alarm_ids(node).contains(&"expired".to_owned()), "{:?}", alarm_ids(node));
}

/// kubeadm of old made certificates that outlive their CA. In ca.crt is a new one, too.
#[test]
fn leaf_is_due_when_the_ca_that_issued_it_ends() {
    for (days_left, expected, is_renewed) in
        [(60, "fresh", false), (10, "due", false), (2, "urgent", true), (-1, "expired", true)]
    {
        let node = Node::fresh(ECDSA);
        node.shorten_authority(&format!("{PKI}/ca"), days_left);
        let new = fixture(crate::common::RSA);
        let both = [new[CA_CRT].clone(), node.read(CA_CRT)].concat();
        node.write(CA_CRT, both);
        node.write(CA_KEY, &new[CA_KEY]);
        assert_eq!(state(&node, "apiserver"), expected);
        let run = node.run(&["renew", "apiserver"]);
        let issuer = &certificates(&node.read(CA_CRT)).unwrap()[0];
        let renewed = node.certificate("apiserver").is_signed_by(issuer);
        assert_eq!(renewed, is_renewed, "{days_left}: {}", run.text);
    }
}

/// As before its expiry nothing helps but another CA.
#[test]
fn leaf_that_outlives_its_ca_ends_with_it() {
    let node = Node::fresh(ECDSA);
    node.shorten_authority(&format!("{PKI}/ca"), 10);
    assert_eq!(state(&node, "apiserver"), "expires with its CA");
    assert_eq!(state(&node, "etcd/server"), "fresh");
}

#[test]
fn path_length_of_a_root_allows_no_intermediate() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    let leaf = tiers.answer("apiserver", "");
    let chain = leaf + &openssl.pem("middle.crt");
    let ext = openssl.pem("ca.ext");
    openssl.write("ca.ext", ext.replace("CA:TRUE", "CA:TRUE,pathlen:0"));
    openssl.certify("root", "root", "");
    node.write(CA_CRT, openssl.pem("root.crt"));
    openssl.write("served.pem", &chain);
    assert!(!openssl.verifies("-CAfile root.crt -untrusted served.pem", "served.pem"));
    let before = node.read(APISERVER);
    assert_code(&tiers.install("apiserver", &chain), FAILED);
    assert_eq!(node.read(APISERVER), before);
    node.write(APISERVER, &chain);
    assert_code(&node.run(&["ca", "verify", &format!("/{APISERVER}")]), ATTENTION);
    assert_ne!(state(node, "apiserver"), "fresh");
}

#[test]
fn expired_ca_verifies_nothing() {
    let node = Node::fresh(ECDSA);
    node.shorten_authority(&format!("{PKI}/ca"), -1);
    let run = node.run(&["ca", "verify", &format!("/{APISERVER}")]);
    assert_code(&run, ATTENTION);
    assert!(run.text.contains("CN=kubernetes expired at"), "{}", run.text);
}

#[test]
fn expired_certificate_of_the_ca_hides_no_valid_one() {
    let node = Node::fresh(ECDSA);
    let valid = node.read(CA_CRT);
    node.shorten_authority(&format!("{PKI}/ca"), -1);
    let bundle = [node.read(CA_CRT), valid.clone()].concat();
    node.write(CA_CRT, valid);
    let conf = "etc/kubernetes/scheduler.conf";
    crate::support::embed(&node, conf, "certificate-authority-data", &bundle);
    let run = node.run(&["ca", "verify", &format!("/{conf}")]);
    assert_code(&run, SUCCESS);
}

/// While an external CA is replaced, its file holds both.
#[test]
fn answer_of_another_ca_is_installed_with_the_trust_of_kubeconfigs() {
    require!("openssl");
    let tiers = TieredCa::new();
    let TieredCa { node, openssl } = &tiers;
    let old = openssl.pem("root.crt");
    trust_in_kubeconfigs(node, &old);
    let trusted = |file: &str| {
        let content = crate::support::embedded(node, file, "certificate-authority-data");
        String::from_utf8(content).unwrap()
    };
    let (scheduler, admin) = ("etc/kubernetes/scheduler.conf", "etc/kubernetes/admin.conf");
    let middle = openssl.pem("middle.crt");
    assert_code(&tiers.install("apiserver", &(tiers.answer("apiserver", "") + &middle)), SUCCESS);
    assert_eq!(trusted(scheduler), old, "it is the same CA");
    openssl.ca("new", "new", P256, "");
    openssl.certify("middle", "new", "");
    let both = openssl.pem("new.crt") + &old;
    node.write(CA_CRT, &both);
    let run =
        tiers.install("admin.conf", &(tiers.answer("admin.conf", "") + &openssl.pem("middle.crt")));
    assert_code(&run, SUCCESS);
    assert!(run.text.contains("gets the CA certificates of /etc/kubernetes/pki/ca.crt"));
    assert_eq!((trusted(scheduler), trusted(admin)), (both.clone(), both));
    assert_eq!(state(node, "admin.conf"), "fresh");
}

/// The key of an external CA may be of a kind that can't be verified here.
#[test]
fn unverifiable_signature_is_not_called_foreign() {
    require!("openssl");
    let openssl = Openssl::new();
    openssl.ca("front", "front", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "");
    let node = Node::due();
    node.write(FRONT_CA_CRT, openssl.pem("front.crt"));
    node.remove(FRONT_CA_KEY);
    openssl.sign_pair(&node, "front-proxy-client", "front", 200, "default");
    let why = reason(&node, "front-proxy-client");
    assert!(why.starts_with("issued by CN=front, does not verify by its CA"), "{why}");
}

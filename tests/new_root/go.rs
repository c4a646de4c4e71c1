//! Roots that Go's own parser refuses, and kubeadm with it.

use kubecertd::formats::pem;
use kubecertd::formats::x509::Certificate;
use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

/// Whether Go parses each certificate.
fn parsed_by_go(desk: &Desk, certificates: &[String]) -> Vec<bool> {
    fs::write(desk.path("asked.pem"), certificates.concat()).unwrap();
    fs::write(desk.path("parse.go"), include_str!("parse.go")).unwrap();
    let said = desk
        .shell("HOME=$PWD GOCACHE=$PWD/cache GOFLAGS= GOTOOLCHAIN=local go run parse.go asked.pem");
    let verdicts: Vec<_> = said.lines().map(|line| line == "true").collect();
    assert_eq!(verdicts.len(), certificates.len(), "{said}");
    verdicts
}

/// Subject alternative names that Go parses.
const USUAL_NAMES: [&str; 8] = [
    "DNS:kubernetes",
    "DNS:*.example.com, IP:10.0.0.1, IP:fd00::1, email:ca@example.com, RID:1.2.3.4",
    "URI:https://pki.example.com:8443/ca?x=%20#y",
    "URI:http://user:word@pki.example.com",
    "URI:http://[fd00::1]:80/",
    "URI:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "URI:ldap://ldap.example.com/CN=CA%20A?cACertificate?base",
    "otherName:1.2.3.4;UTF8:name",
];

/// Subject alternative names that it refuses, each with a part of the reason. In hex, these are a
/// dNSName and an rfc822Name with bytes that are not ASCII, an iPAddress of five bytes, and URIs.
const REFUSED_NAMES: [(&str, &str); 10] = [
    ("DER:3005820363e961", "a DNS name"),
    ("DER:3005810363e961", "an e-mail address"),
    ("DER:300787050a00000001", "an IP address"),
    ("DER:3005860363e961", "a URI"),
    ("DER:300d860b687474703a2f2f612f0162", "a URI"),
    ("URI:http://[fd00::1/", "a URI"),
    ("URI:http://example.com:port/", "a URI"),
    ("URI:http://example..com/", "a URI"),
    ("URI:http://example.com/%zz", "a URI"),
    ("URI::relative", "a URI"),
];

#[test]
fn alternative_names_that_go_refuses_are_refused() {
    require!("openssl", "go");
    let desk = Desk::new();
    let (mut all, mut expected) = (Vec::new(), Vec::new());
    let usual = USUAL_NAMES.map(|names| (names, None));
    let refused = REFUSED_NAMES.map(|(names, reason)| (names, Some(reason)));
    for (names, reason) in usual.into_iter().chain(refused) {
        desk.root("one", &[BASIC, USAGE, IDENTIFIER, &format!("subjectAltName = {names}")]);
        let run = desk.check(&["one.crt", "one.key"]);
        match reason {
            None => assert!(run.code == 0 && run.text.ends_with(USABLE), "{names}: {}", run.text),
            Some(reason) => {
                assert_says(&run, 3, "refused  Kubernetes can't read it: its subjectAltName");
                assert!(run.text.contains(reason), "{names}: {}", run.text);
                assert_says(&run, 3, "1 reason.");
            }
        }
        all.push(desk.text("one.crt"));
        expected.push(reason.is_none());
    }
    assert_eq!(parsed_by_go(&desk, &all), expected);
}

/// The certificates differ in one URI of this length.
const URI_LENGTH: usize = 40;

#[test]
fn uris_that_are_accepted_are_those_that_go_parses() {
    require!("openssl", "go");
    let desk = Desk::new();
    let plain = "a".repeat(URI_LENGTH);
    let names = format!("subjectAltName = URI:{plain}");
    desk.root("one", &[BASIC, USAGE, IDENTIFIER, &names]);
    let der = certificates(desk.text("one.crt").as_bytes()).unwrap()[0].der().to_vec();
    let at = der.windows(URI_LENGTH).position(|part| part == plain.as_bytes()).unwrap();
    let with = |uri: &str| {
        let mut der = der.clone();
        der[at..at + URI_LENGTH].copy_from_slice(format!("{uri:a<URI_LENGTH$}").as_bytes());
        der
    };
    let uris = "(http:|http:/|http://|HTTP://a\\.b|h\\+1://|urn:|:|/|//|[a-z:/]{1,4})\
                [a-c.:@%0-9/?#\\[\\] _~!<>\"|^A-F-]{0,14}";
    let uris = proptest::string::string_regex(uris).unwrap();
    let mut runner = TestRunner::deterministic();
    let all: Vec<_> =
        (0..4000).map(|_| with(&uris.new_tree(&mut runner).unwrap().current())).collect();
    let blocks: Vec<_> = all.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    let mut accepted = 0;
    for (der, by_go) in all.iter().zip(parsed_by_go(&desk, &blocks)) {
        let malformed = Certificate::from_der(der).unwrap().as_root().malformed;
        let uri = String::from_utf8_lossy(&der[at..at + URI_LENGTH]);
        assert!(by_go || malformed.is_some(), "{uri}");
        accepted += usize::from(malformed.is_none());
    }
    assert!((400..3600).contains(&accepted), "{accepted}");
}

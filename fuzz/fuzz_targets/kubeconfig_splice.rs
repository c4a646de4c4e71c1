//! Splices a fixed certificate and key into arbitrary bytes. Where that succeeds, the outcome has
//! to hold the new values; and where the old ones were one line of base64 as everybody writes it,
//! splicing them back has to give the original, byte for byte.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubecertd::formats::kubeconfig::{Kubeconfig, PemSource, splice};
use kubecertd::model::Secret;
use libfuzzer_sys::fuzz_target;

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----\nbmV3\n-----END CERTIFICATE-----\n";
const KEY: &[u8] = b"-----BEGIN PRIVATE KEY-----\nbmV3IGtleQ==\n-----END PRIVATE KEY-----\n";

fuzz_target!(|before: &[u8]| {
    let read = Kubeconfig::parse(before);
    let Ok(after) = splice(before, CERTIFICATE, &Secret::new(KEY.to_vec())) else { return };
    let old = embedded(read.expect("what can be spliced can be read"));
    let new = embedded(Kubeconfig::parse(after.expose()).expect("what was spliced can be read"));
    assert!(new.0.expose() == CERTIFICATE && new.1.expose() == KEY, "the new values are read");

    let back = splice(after.expose(), old.0.expose(), &old.1);
    let of_one_line = before.len() + encoded(&new.0) + encoded(&new.1) == after.expose().len() + encoded(&old.0) + encoded(&old.1);
    if of_one_line && stands_in(before, &old.0) && stands_in(before, &old.1) {
        assert!(back.expect("splices back").expose() == before, "there and back");
    }
});

fn embedded(config: Kubeconfig) -> (Secret, Secret) {
    match (config.user.client.certificate, config.user.client.key) {
        (PemSource::Embedded(certificate), PemSource::Embedded(key)) => (certificate, key),
        _ => panic!("both are embedded"),
    }
}

/// The length in base64.
fn encoded(bytes: &Secret) -> usize {
    STANDARD.encode(bytes.expose()).len()
}

/// Whether the text holds these bytes as one line of canonical base64, long enough to be there on
/// purpose, and beginning as PEM does, so that no YAML parser takes it for a number.
fn stands_in(text: &[u8], bytes: &Secret) -> bool {
    let line = STANDARD.encode(bytes.expose());
    line.len() >= 16 && line.starts_with("LS0t") && text.windows(line.len()).any(|window| window == line.as_bytes())
}

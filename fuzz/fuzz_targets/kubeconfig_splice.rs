//! Splices a fixed certificate and key into arbitrary bytes. If that succeeds, the result holds the
//! new values. If the old values were one line of canonical base64, splicing them back gives the
//! original, byte for byte.
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
    let old = embedded_client(read.expect("a kubeconfig that can be spliced can be read"));
    let spliced = Kubeconfig::parse(after.expose());
    let new = embedded_client(spliced.expect("a spliced kubeconfig can be read"));
    assert!(new.0.expose() == CERTIFICATE && new.1.expose() == KEY, "the new values are read");

    let back = splice(after.expose(), old.0.expose(), &old.1);
    let new_length = encoded_length(&new.0) + encoded_length(&new.1);
    let old_length = encoded_length(&old.0) + encoded_length(&old.1);
    let is_one_line = before.len() + new_length == after.expose().len() + old_length;
    if is_one_line && holds_line(before, &old.0) && holds_line(before, &old.1) {
        assert!(back.expect("splices back").expose() == before, "round trip");
    }
});

fn embedded_client(config: Kubeconfig) -> (Secret, Secret) {
    match (config.user.client.certificate, config.user.client.key) {
        (PemSource::Embedded(certificate), PemSource::Embedded(key)) => (certificate, key),
        _ => panic!("both are embedded"),
    }
}

/// Returns the length in base64.
fn encoded_length(bytes: &Secret) -> usize {
    STANDARD.encode(bytes.expose()).len()
}

/// Whether the text holds these bytes as one line of canonical base64 that is long enough to be
/// intended and begins as PEM does, so that no YAML parser reads it as a number.
fn holds_line(text: &[u8], bytes: &Secret) -> bool {
    let line = STANDARD.encode(bytes.expose());
    line.len() >= 16
        && line.starts_with("LS0t")
        && text.windows(line.len()).any(|window| window == line.as_bytes())
}

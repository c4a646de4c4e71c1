//! The paragraph about the certificate of a CA.

use std::fmt::Write as _;

use super::out::{BAD, HEADING, PLAIN, paint};
use super::words::{date, left};
use crate::formats::x509::Certificate;
use crate::model::{Digest, Timestamp};

/// What identifies a certificate of a CA, and how long it is valid.
pub(super) fn describe(heading: &str, certificate: &Certificate, now: Timestamp) -> String {
    let style = if certificate.is_valid_at(now) { PLAIN } else { BAD };
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    let rows = [
        ("Subject", certificate.subject.to_string()),
        ("Serial number", certificate.serial.to_string()),
        ("Valid", format!("{} to {}", date(not_before), date(not_after))),
        ("Left", paint(style, &left(now, not_after))),
        ("Key", certificate.key_algorithm.to_string()),
        ("SHA-256", colon_separated(certificate.fingerprint)),
        ("Discovery hash", discovery_hash(certificate)),
    ];
    let mut text = paint(HEADING, heading) + "\n";
    for (name, value) in rows {
        let _ = writeln!(text, "  {:<17}{value}", format!("{name}:"));
    }
    text
}

/// Formats a fingerprint as openssl and browsers do.
fn colon_separated(digest: Digest) -> String {
    let hex = digest.to_string().to_uppercase();
    let bytes: Vec<_> = hex.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    bytes.join(":")
}

/// Computes the value for `kubeadm join --discovery-token-ca-cert-hash`: the digest of the public
/// key alone (RFC 7469, section 2.4).
fn discovery_hash(certificate: &Certificate) -> String {
    format!("sha256:{}", Digest::of(certificate.public_key_der()))
}

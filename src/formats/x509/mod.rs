//! Certificates and private keys: reading what is on disk, making keys, re-issuing a certificate,
//! and judging the result.
//!
//! Three libraries share the work, on purpose. `x509-parser` reads whatever is on disk, leniently;
//! `x509-cert` and `aws-lc-rs` make the new certificate; `rustls-webpki`, the verifier that TLS
//! clients use, judges it. So a mistake of the one that makes is not repeated by the one that
//! judges. Nothing here opens a file or asks for the time.

mod algorithm;
mod check;
mod issue;
mod keys;
mod kubelet;
mod name;
mod names;
mod read;
mod request;
mod signer;
mod verify;

#[cfg(test)]
mod fixtures;

pub use algorithm::KeyAlgorithm;
pub use issue::{IssueError, Terms, random_serial, reissue};
pub use keys::{KeyError, PrivateKey};
pub use kubelet::{NODE_PREFIX, NODES, kubelet_template};
pub use name::{DistinguishedName, Serial};
pub use names::{NamesError, with_names};
pub use read::{Certificate, ExtendedKeyUsage, Extension, ReadError, certificates};
pub use request::request;
pub use signer::{PublicKey, Signature};
pub use verify::{VerifyError, verify_answer, verify_renewed};
pub use x509_parser::der_parser::Oid;
pub use x509_parser::extensions::KeyUsage;

//! Certificates and private keys: reads them from disk, generates keys, re-issues certificates, and
//! verifies the result.
//!
//! Three libraries share the work, on purpose. `x509-parser` reads leniently whatever is on disk;
//! `x509-cert` and `aws-lc-rs` make the new certificate; `rustls-webpki`, the verifier that TLS
//! clients use, verifies it. So an error of the issuing library is not repeated by the verifying
//! one. Nothing here opens a file or reads the clock.

mod algorithm;
mod chain;
mod check;
mod envelope;
mod fit;
mod issue;
mod keys;
mod kubelet;
mod name;
mod names;
mod node_request;
mod passing;
mod probe_identity;
mod read;
mod request;
mod root;
mod sha1;
mod signer;
mod template;
mod verify;

#[cfg(test)]
pub(crate) mod fixtures;

pub use algorithm::KeyAlgorithm;
pub use chain::{Chain, MAX_INTERMEDIATES, anchors_of, chains};
pub use fit::key_fits;
pub use issue::{IssueError, Terms, random_serial, reissue};
pub use keys::{KeyError, PrivateKey};
pub use kubelet::{NODE_PREFIX, NODES, kubelet_template};
pub use name::{DistinguishedName, Serial};
pub use names::{NamesError, with_names};
pub use node_request::{NodeRequest, NodeRequestError};
pub use passing::{PassingError, passing_certificate};
pub use probe_identity::{PROBE_USER, ProbeIdentity, ProbeIdentityError, probe_identity};
pub use read::{Certificate, ExtendedKeyUsage, Extension, ReadError, certificates};
pub use request::request;
pub use root::{
    BridgeError, LeafLoss, NamePart, NewRoot, NewRootError, RenewRootError, RootLifetime,
    SubjectError, bridge, lost_leaves, new_root, renew_root,
};
pub use signer::{PublicKey, Signature};
pub use template::template;
pub use verify::{VerifyError, is_for_the_same, verify_answer, verify_renewed};
pub use x509_parser::der_parser::Oid;
pub use x509_parser::extensions::KeyUsage;

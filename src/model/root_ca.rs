//! What is found of a certificate that is to become the root CA of a cluster.

use super::{AbsolutePath, Timestamp};

/// A certificate that is to become the root CA, and what it would meet on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCandidate {
    /// The certificate alone.
    pub certificate: RootCertificate,
    /// The private key that was given with it.
    pub key: CandidateKey,
    /// Why a certificate that the key issues is not accepted, where that was tried.
    pub trial: Option<String>,
    /// The file of the system's trust store that holds the same CA.
    pub trusted_in: Option<AbsolutePath>,
    /// What of that trust store can't be read, each with the file and the reason.
    pub unread_trust: Vec<String>,
    /// The root CA that is there, where there is one.
    pub present: Option<PresentRoot>,
}

/// What a root's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCertificate {
    /// Its issuer, for people.
    pub issuer: String,
    /// Whether it names a subject.
    pub has_subject: bool,
    /// Who signed it.
    pub signature: RootSignature,
    /// The version of X.509.
    pub version: u32,
    /// Its basic constraints.
    pub constraints: CaConstraints,
    /// Its key usage.
    pub key_usage: CaKeyUsage,
    /// Its extended key usage, for people, where that lacks servers or clients.
    pub other_purposes: Option<String>,
    /// Whether it limits the names of the certificates below it.
    pub has_name_constraints: bool,
    /// The critical extensions that verifiers don't know, by number.
    pub unknown_critical: Vec<String>,
    /// What Go and other strict parsers can't read in it.
    pub malformed: Option<String>,
    /// The identifier of its key.
    pub identifier: KeyIdentifier,
    /// The kind of its key.
    pub key_kind: CaKeyKind,
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second of its validity.
    pub not_after: Timestamp,
}

/// Who signed a certificate that is to be a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSignature {
    /// Its own key.
    Own,
    /// Its own key, with SHA-1.
    Sha1,
    /// It names itself as its issuer, and its key did not make the signature, as far as that can be
    /// checked.
    Wrong,
    /// Another CA.
    OtherCa,
}

/// The basic constraints of a certificate (RFC 5280, 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaConstraints {
    /// They are missing, or say that it is no CA.
    NoCa,
    /// They say that it is a CA.
    Ca {
        /// Whether they are critical.
        critical: bool,
        /// The number of other CA certificates that may be below it.
        path_length: Option<u32>,
    },
}

/// The key usage of a CA certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaKeyUsage {
    /// It has none.
    Absent,
    /// It may sign certificates.
    SignsCertificates,
    /// It may not.
    Other,
}

/// The identifier of a certificate's own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyIdentifier {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// There is one, and the certificate names another certificate as its issuer's: by the
    /// identifier of the key, the serial number or the issuer.
    Contradicted,
}

/// The kind of a CA's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaKeyKind {
    /// kubeadm and all clients can use it.
    Usual,
    /// kubeadm can use it, and some clients can't.
    Unusual(String),
    /// kubeadm or kubecertd can't use it.
    Unsupported(String),
}

/// The private key of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKey {
    /// None was given.
    NotGiven,
    /// It is the certificate's.
    Fits,
    /// It is that of another certificate.
    OfAnother,
}

/// The root CA that is on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentRoot {
    /// Its file.
    pub file: AbsolutePath,
    /// What the candidate has in common with it.
    pub relation: RootRelation,
}

/// What a candidate has in common with the present root CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootRelation {
    /// It is the same certificate.
    Same,
    /// It has the same key, name and key identifier: a renewal.
    Renewed,
    /// It has the same key, and its name is encoded differently or has another content.
    SameKeyOtherName,
    /// It has the same key and the same name, and another key identifier.
    SameKeyOtherIdentifier,
    /// It has another key, and a name that is the same for Go or for OpenSSL.
    SameName {
        /// Why verifiers can't distinguish the two, where that is so.
        obstacle: Option<SameNameObstacle>,
    },
    /// It has another key and another name.
    Other,
}

/// Why verifiers can't distinguish two CAs with the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SameNameObstacle {
    /// The present root has no key identifier.
    PresentHasNoIdentifier,
    /// Both have the same key identifier, though not the same key.
    SameIdentifier,
    /// These certificates do not name the key identifier of the root that signed them.
    LeavesNameNone(Vec<String>),
}

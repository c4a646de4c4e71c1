//! What is found on disk: the facts that a judgement rests on, free of any opinion about them.

use super::{
    AbsolutePath, Anchors, Authority, AuthorityName, Credential, Dated, Digest, Location,
    OtherWriters, Template, Timestamp,
};

/// What is found of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFacts {
    /// The catalog's entry.
    pub credential: Credential,
    /// What its files hold.
    pub material: Material,
    /// The files that hold it: those that its kubeconfig refers to, where it does.
    pub files: Vec<AbsolutePath>,
    /// The newest backup that could repair it; looked for only where the files can't serve.
    pub backup: Option<BackupFacts>,
    /// What it is made from where it is lost and no backup has it, or why it can't be made. `None`
    /// where it is not lost, and where the profile does not describe it.
    pub template: Option<Result<Template, String>>,
    /// The user that its kubeconfig's current-context names, where it is kept in one and has a
    /// certificate.
    pub user: Option<String>,
    /// What else an operator should know about it, each a sentence.
    pub notes: Vec<String>,
    /// How kubelet comes to it, where it is kubelet's own client certificate.
    pub kubelet: Option<KubeletClient>,
    /// What it is to hold, where it is a copy.
    pub copy: Option<CopyFacts>,
    /// Where others than root can write its files: whether its certificate is its own. `None` for a
    /// copy, whose content is never trusted.
    pub other_writers: Option<OtherWriters>,
}

/// A backup that a credential can be issued anew from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFacts {
    /// Its name.
    pub name: String,
    /// Where the credential is in it.
    pub location: Location,
    /// SHA-256 of its certificate.
    pub fingerprint: Digest,
    /// The algorithm of its key.
    pub key_algorithm: String,
    /// Whether a new key of this algorithm can be made.
    pub key_can_be_made: bool,
}

/// What is found of a copy's original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFacts {
    /// The certificate that the copy is to have: SHA-256 of it. Else why none can be copied now.
    pub original: Result<Digest, String>,
    /// Whether the original is not known to have held what the copy holds, which is a certificate
    /// of the same user, CA and usages all the same.
    pub equivalent: bool,
}

/// What is found of kubelet's way to its own client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletClient {
    /// Its kubeconfig.
    pub kubeconfig: AbsolutePath,
    /// The certificate that the kubeconfig embeds, where it does not point to the file that kubelet
    /// renews.
    pub embedded: Option<Material>,
    /// Where the kubeconfig does not exist, and kubelet does not start without it: the server for a
    /// new one, or why that is not known.
    pub lost: Option<Result<String, String>>,
    /// Why kubelet does not renew the certificate while it is valid; `None` where it does, or that
    /// is not known.
    pub rotation_off: Option<String>,
    /// The name of this node, as a file here gives it; else why it is not known, and what to do.
    pub node: Result<String, String>,
}

/// What the files of a credential hold. Texts name the file and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// None of its files exists.
    Absent,
    /// A file can't be read, or is in a form that is not touched: it may be fine.
    Unreadable(String),
    /// It is a kubeconfig whose current user authenticates without a certificate.
    NoCertificate(String),
    /// The certificate's file was read, and is no certificate.
    Damaged(String),
    /// There is a key, or a kubeconfig that refers to files, and no certificate.
    CertificateMissing(String),
    /// There is a certificate, and no key.
    KeyMissing(Leaf, String),
    /// There is a certificate, and the key does not fit it or can't be used.
    Mismatched(Leaf, String),
    /// Certificate and key fit. Of a copy: they are its original's, or were.
    Whole(Leaf),
    /// It is a copy's, and holds something that its original never held, or not all of it. Its
    /// content is not disclosed.
    Changed(String),
}

impl KubeletClient {
    /// Why its certificate can't be issued here, and what to do.
    #[must_use]
    pub fn obstacle(&self) -> Option<&String> {
        let server = self.lost.as_ref().and_then(|server| server.as_ref().err());
        self.node.as_ref().err().or(server)
    }
}

impl Material {
    /// The certificate, where there is one.
    #[must_use]
    pub fn leaf(&self) -> Option<&Leaf> {
        match self {
            Self::KeyMissing(leaf, _) | Self::Mismatched(leaf, _) | Self::Whole(leaf) => Some(leaf),
            Self::Absent
            | Self::Unreadable(_)
            | Self::NoCertificate(_)
            | Self::Damaged(_)
            | Self::CertificateMissing(_)
            | Self::Changed(_) => None,
        }
    }
}

/// What matters of a credential's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its subject, for people.
    pub subject: String,
    /// Its issuer, for people.
    pub issuer: String,
    /// Subject and issuer in parts.
    pub parts: NameParts,
    /// Its serial number, in hex.
    pub serial: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// Its key's algorithm, as kubeadm spells it: `RSA-2048`.
    pub key_algorithm: String,
    /// Whether a new key of this algorithm can be made.
    pub key_can_be_made: bool,
    /// The names and addresses it is valid for.
    pub names: Vec<String>,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
    /// Who signed it.
    pub signer: Signer,
    /// Whether it is signed with SHA-1.
    pub sha1: bool,
    /// The CA certificates of its authority that it verifies by, in Go and in OpenSSL: SHA-256 of
    /// each.
    pub verifies_by: Vec<Digest>,
    /// The last second in which the CA certificates above it are valid, up to one of its authority.
    /// `None` where they are not known.
    pub chain_end: Option<Timestamp>,
}

impl Leaf {
    /// The last second in which it is accepted: its own last valid one, or that of the CA
    /// certificates above it.
    #[must_use]
    pub fn accepted_until(&self) -> Timestamp {
        self.chain_end.map_or(self.not_after, |end| end.min(self.not_after))
    }

    /// Whether it is valid for longer than the CA certificates above it.
    #[must_use]
    pub fn outlives_its_chain(&self) -> bool {
        self.accepted_until() < self.not_after
    }
}

/// Subject and issuer of a certificate in parts: each with the short name of its kind (`CN`, `O`),
/// as far as these are the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameParts {
    /// Whose certificate it is.
    pub subject: Vec<(&'static str, String)>,
    /// Who signed it.
    pub issuer: Vec<(&'static str, String)>,
}

/// Who signed a certificate, as proven by its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The credential's authority.
    Authority,
    /// An intermediate below the credential's authority, whose certificate is behind it in the
    /// file.
    Intermediate,
    /// The key of the credential's authority, under a name that none of the authority's
    /// certificates has byte for byte, so that none of them verifies it.
    Renamed,
    /// Its own key.
    Itself,
    /// Another CA.
    Foreign,
    /// Not known: there is no CA to compare with, or it can't be read.
    Unknown,
}

/// What is found of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// The catalog's entry.
    pub authority: Authority,
    /// What its files hold.
    pub state: AuthorityState,
    /// How it stands to other CAs.
    pub relations: Relations,
}

/// How an authority stands to other CAs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relations {
    /// Its issuer, for people, where it is an intermediate.
    pub issuer: Option<String>,
    /// A root above it, by which clients are accepted too.
    pub root_above: Option<RootAbove>,
    /// Whether the file by which clients are accepted can't be read, so that such a root is not
    /// known.
    pub clients_unreadable: bool,
    /// The cluster's root CA, where this authority accepts what that one signs.
    pub twin: Option<AuthorityName>,
}

/// A root CA above an intermediate in the file by which clients are accepted: each certificate that
/// the root's other intermediates signed is accepted too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootAbove {
    /// The file.
    pub file: AbsolutePath,
    /// The root's subject, for people.
    pub subject: String,
}

/// What the files of an authority hold. Texts name the file and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityState {
    /// There is no certificate.
    Absent,
    /// The certificate's file can't be read or is no certificate.
    Unreadable(String),
    /// It holds certificates, and none that may sign others.
    NotARoot(String),
    /// It holds an authority's certificates.
    Present {
        /// What matters of each: the anchors, and which of them can sign.
        anchors: Anchors<AuthorityCertificate>,
        /// Whether it can sign.
        key: AuthorityKey,
    },
}

impl AuthorityState {
    /// The certificate that stands for the authority at a time, where there is one: its signer, or
    /// the certificate that would be if it were valid or the key were here
    /// ([`Anchors::candidate`]).
    #[must_use]
    pub fn certificate(&self, now: Timestamp) -> Option<&AuthorityCertificate> {
        match self {
            Self::Present { anchors, .. } => anchors.candidate(now),
            Self::Absent | Self::Unreadable(_) | Self::NotARoot(_) => None,
        }
    }

    /// The next of the trusted certificates with another key to expire.
    #[must_use]
    pub fn next_other_to_expire(&self, now: Timestamp) -> Option<&AuthorityCertificate> {
        let Self::Present { anchors, .. } = self else { return None };
        anchors.others().filter(|one| now <= one.not_after).min_by_key(|one| one.not_after)
    }
}

/// What matters of an authority's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityCertificate {
    /// Its subject, for people.
    pub subject: String,
    /// Its subject and issuer in parts.
    pub parts: NameParts,
    /// Its serial number, in hex.
    pub serial: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
}

impl Dated for AuthorityCertificate {
    fn not_before(&self) -> Timestamp {
        self.not_before
    }

    fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Whether an authority can sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityKey {
    /// Its key is here and fits.
    Usable,
    /// Its key is not on this node: the authority is an external one.
    Absent,
    /// Its key is here and can't be used.
    Unusable(String),
}

/// Something besides this program that renews the same certificates on a schedule of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherRenewer {
    /// The file that says so.
    pub file: AbsolutePath,
    /// What it does, in a sentence without a stop.
    pub what: String,
}

/// The manifest of a control-plane pod that may use certificates which are not managed, or are not
/// known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclearManifest {
    /// The file.
    pub file: AbsolutePath,
    /// Why that is so and what to do, in one or more sentences without a stop.
    pub reason: String,
}

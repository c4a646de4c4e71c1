//! A signing request (PKCS#10, RFC 2986) for kubelet's client certificate, as it comes from another
//! node. Its content may be anything: it is accepted only where it asks for exactly the certificate
//! of one node, and nothing of it but the public key, the order and form of its subject, and its
//! key usage is in the certificate.

use const_oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER, ID_KP_CLIENT_AUTH,
};
use const_oid::db::rfc5912::ID_EXTENSION_REQ;
use der::asn1::OctetString;
use der::flagset::FlagSet;
use der::{Decode as _, Encode as _, Tag};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::name::{Name, RdnSequence};
use x509_cert::request::{CertReq, CertReqInfo};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::check::is_signed_with;
use super::issue::{library, reissue_for};
use super::kubelet::kubelet_subject;
use super::template::{encoded, extensions, unsigned};
use super::{
    Certificate, DistinguishedName, IssueError, KeyAlgorithm, PrivateKey, Terms, VerifyError,
    verify_renewed,
};
use crate::formats::pem::{PemError, blocks};
use crate::model::{Timestamp, Usage};

/// The labels of a request in PEM. The second one is that of older programs.
const LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

/// The most characters of a foreign name that are shown.
const MAX_SHOWN: usize = 200;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeRequestError {
    /// It is not PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Something else, or more than one block.
    #[error("the file has to hold one block, a CERTIFICATE REQUEST, and holds: {0}")]
    NotOne(String),
    /// Its content is no request.
    #[error("the request can't be read: {0}")]
    Unreadable(String),
    /// It is for another subject.
    #[error(
        "the request is for {found}, and a certificate is signed only for exactly CN={common_name} \
         and O={organization}"
    )]
    Subject {
        /// The subject of the request.
        found: String,
        /// The one that it should have.
        common_name: String,
        /// The one group that it should have.
        organization: String,
    },
    /// It asks for names.
    #[error(
        "the request asks for subject alternative names, and kubelet's client certificate has \
        none"
    )]
    Names,
    /// It asks for something else that no certificate of kubelet has.
    #[error("the request asks for {0}, and kubelet's client certificate is for clients only")]
    More(String),
    /// Its key is of a kind that is not used.
    #[error("a certificate for a key of the kind {0} is not issued")]
    Key(String),
    /// It was not made by the owner of the key.
    #[error(
        "the signature of the request was not made with its own key: the request was changed or \
         damaged, or its maker does not have the key"
    )]
    Signature,
    /// The certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The certificate was made, and is wrong.
    #[error("the certificate was not accepted: {0}")]
    Refused(#[from] VerifyError),
}

/// A request that was checked.
#[derive(Debug)]
pub struct NodeRequest {
    public_key: Vec<u8>,
    /// What the certificate is issued from.
    template: Certificate,
}

impl NodeRequest {
    /// Reads a request in PEM, and checks that it asks for exactly the certificate of this node's
    /// kubelet, and that the owner of its key made it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(file: &[u8], node: &str) -> Result<Self, NodeRequestError> {
        let der = one_block(file)?;
        let request = CertReq::from_der(&der).map_err(|e| unreadable(&e))?;
        let CertReqInfo { subject, public_key, .. } = &request.info;
        let public_key = public_key.to_der().map_err(|e| unreadable(&e))?;
        let algorithm = KeyAlgorithm::of_public_key(&public_key);
        if !algorithm.can_be_made() {
            return Err(NodeRequestError::Key(algorithm.to_string()));
        }
        if !is_signed_with(&der, &public_key) {
            return Err(NodeRequestError::Signature);
        }
        check_subject(subject, node)?;
        let usage = check_extensions(&requested(&request.info)?)?;
        Ok(Self { public_key, template: template(subject.clone(), usage)? })
    }

    /// Whether a certificate is for the key of the request.
    #[must_use]
    pub fn is_for_key_of(&self, certificate: &Certificate) -> bool {
        certificate.public_key_der() == self.public_key
    }

    /// Issues the certificate, and verifies it as a renewed one is verified.
    ///
    /// # Errors
    /// When the issuer can't sign, or the library fails.
    pub fn issue(
        &self,
        issuer: &Certificate,
        issuer_key: &PrivateKey,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Certificate, NodeRequestError> {
        let der = reissue_for(&self.template, issuer, issuer_key, &self.public_key, terms)?;
        let certificate = Certificate::from_der(&der).map_err(library)?;
        verify_renewed(&certificate, &self.template, issuer, now)?;
        Ok(certificate)
    }
}

fn unreadable(error: &der::Error) -> NodeRequestError {
    NodeRequestError::Unreadable(error.to_string())
}

fn one_block(file: &[u8]) -> Result<Vec<u8>, NodeRequestError> {
    let blocks = blocks(file)?;
    match blocks.as_slice() {
        [block] if LABELS.contains(&block.label.as_str()) => Ok(block.der.expose().to_vec()),
        blocks => {
            let labels: Vec<_> = blocks.iter().map(|block| block.label.as_str()).collect();
            Err(NodeRequestError::NotOne(shown(&labels.join(", "))))
        }
    }
}

/// Compares bytes: a name that reads alike may mean another user to another program. Go has the
/// group first, other programs the order of their command line, and each its type of strings.
fn check_subject(subject: &Name, node: &str) -> Result<(), NodeRequestError> {
    let wanted = kubelet_subject(node);
    let found = subject.to_der().map_err(|e| unreadable(&e))?;
    for form in [Tag::PrintableString, Tag::Utf8String] {
        let name = encoded(&wanted, form)?;
        let mut parts: Vec<_> = name.iter_rdn().cloned().collect();
        parts.reverse();
        let mut reversed = RdnSequence::default();
        parts.into_iter().for_each(|part| reversed.push(part));
        if [name.to_der(), reversed.to_der()].into_iter().flatten().any(|name| name == found) {
            return Ok(());
        }
    }
    let name =
        X509Name::from_der(&found).map(|(_, name)| DistinguishedName::new(&name).to_string());
    Err(NodeRequestError::Subject {
        found: name.map_or_else(|_| "a name that can't be read".to_owned(), |name| shown(&name)),
        common_name: wanted.common_name,
        organization: wanted.organization.unwrap_or_default(),
    })
}

/// The extensions that it asks for. Other attributes are not allowed.
fn requested(info: &CertReqInfo) -> Result<Vec<Extension>, NodeRequestError> {
    let mut found = None;
    for attribute in info.attributes.iter() {
        let is_first = found.is_none() && attribute.oid == ID_EXTENSION_REQ;
        let mut values = attribute.values.iter();
        let (Some(value), None, true) = (values.next(), values.next(), is_first) else {
            return Err(NodeRequestError::More(format!("the attribute {}", attribute.oid)));
        };
        found = Some(value.decode_as::<Vec<Extension>>().map_err(|e| unreadable(&e))?);
    }
    Ok(found.unwrap_or_default())
}

/// Returns the key usage that it asks for, which kubelet asks for by the kind of its key.
fn check_extensions(all: &[Extension]) -> Result<Option<OctetString>, NodeRequestError> {
    let is_one_of = |extension: &Extension, allowed: &[der::Result<Vec<u8>>]| {
        allowed.iter().flatten().any(|one| one == extension.extn_value.as_bytes())
    };
    let mut usage = None;
    for extension in all {
        let is_allowed = match extension.extn_id {
            ID_CE_SUBJECT_ALT_NAME => return Err(NodeRequestError::Names),
            ID_CE_KEY_USAGE => {
                usage = Some(extension.extn_value.clone());
                let allowed = |usages: FlagSet<KeyUsages>| KeyUsage(usages).to_der();
                let signs = KeyUsages::DigitalSignature;
                is_one_of(
                    extension,
                    &[allowed(signs.into()), allowed(signs | KeyUsages::KeyEncipherment)],
                )
            }
            ID_CE_EXT_KEY_USAGE => {
                is_one_of(extension, &[ExtendedKeyUsage(vec![ID_KP_CLIENT_AUTH]).to_der()])
            }
            ID_CE_BASIC_CONSTRAINTS => {
                let leaf = BasicConstraints { ca: false, path_len_constraint: None };
                is_one_of(extension, &[leaf.to_der()])
            }
            ID_CE_SUBJECT_KEY_IDENTIFIER => true,
            _ => false,
        };
        let is_repeated = all.iter().filter(|one| one.extn_id == extension.extn_id).count() > 1;
        if !is_allowed || is_repeated {
            return Err(NodeRequestError::More(describe(extension)));
        }
    }
    Ok(usage)
}

fn describe(extension: &Extension) -> String {
    match extension.extn_id {
        ID_CE_KEY_USAGE => "another key usage".to_owned(),
        ID_CE_EXT_KEY_USAGE => "another extended key usage than clientAuth".to_owned(),
        ID_CE_BASIC_CONSTRAINTS => "the certificate of a CA".to_owned(),
        other => format!("the extension {other}"),
    }
}

/// The certificate that it asks for, to issue from.
fn template(subject: Name, usage: Option<OctetString>) -> Result<Certificate, IssueError> {
    let mut all = extensions(&[Usage::Client], &[])?;
    let own = all.iter_mut().find(|extension| extension.extn_id == ID_CE_KEY_USAGE);
    if let (Some(own), Some(usage)) = (own, usage) {
        own.extn_value = usage;
    }
    unsigned(subject, all)
}

/// A text of others: at most so long, and nothing that controls a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_SHOWN).collect()
}

#[cfg(test)]
#[path = "node_request_tests.rs"]
mod tests;

//! What an authority elsewhere signs: the request for it, and the answer, which takes the place of
//! the old certificate.
//!
//! An answer goes the way of a renewal: checked against the old certificate and the authority,
//! staged, read back, backed up, journaled. The key is made here, waits in the state folder, and
//! never leaves the node.

use std::path::PathBuf;

use super::{PATIENCE, PassError, files};
use crate::act::{self, Refusal};
use crate::credentials::{
    ComposeError, Loaded, LoadedAuthority, LoadedKey, Stored, load, load_authority,
};
use crate::formats::x509::{
    Certificate, IssueError, KeyError, PrivateKey, ReadError, VerifyError, certificates, request,
    verify_answer,
};
use crate::model::{Authority, Credential, CredentialName, Renewal, Secret, Timestamp};
use crate::observe::{Node, Platform};
use crate::store::{self, Change, Generation, Recovered, Store, StoreError};

/// A request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Where it lies.
    pub file: PathBuf,
    /// The request itself, in PEM.
    pub request: String,
    /// Whether its key was there already, since an earlier request has no answer yet.
    pub again: bool,
}

/// A credential, and what became of its request.
pub type Outcome = (CredentialName, Result<Requested, RequestError>);

/// An answer that is in place.
#[derive(Debug)]
pub struct Installed {
    /// The last valid second of the new certificate.
    pub not_after: Timestamp,
    /// Its serial number, in hex.
    pub serial: String,
    /// The backup of what was replaced.
    pub backup: Option<Generation>,
    /// What an earlier process had left unfinished.
    pub recovered: Recovered,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// Why there is no request, or why an answer was not put in place. Nothing was replaced, unless the
/// text says so.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody signs it.
    #[error(
        "it has no authority in the profile or configuration: nothing is known of who could sign it"
    )]
    NoAuthority,
    /// It can be renewed.
    #[error("its authority {0} has its key on this node: kubecertd renew signs it")]
    SignedHere(String),
    /// The authority's certificate is needed for knowing what it signed.
    #[error("its authority can't be used: {0}")]
    Authority(String),
    /// There is nothing to go by.
    #[error("there is no certificate to take the names and usages from: {0}")]
    NoCertificate(String),
    /// There is no key for an answer.
    #[error(
        "there is no request for it on this node: kubecertd csr makes one; an answer to one that \
         was made elsewhere has its key there"
    )]
    NoRequest,
    /// The answer is for another key.
    #[error(
        "the certificate is not for the key that waits on this node; is it the answer to another \
         request?"
    )]
    AnotherKey,
    /// The authority of this node did not sign it.
    #[error("the certificate was signed by {0}, which is not in the file of the authority {1}")]
    AnotherAuthority(String, String),
    /// The answer is no certificate.
    #[error("the answer can't be read: {0}")]
    Unreadable(#[from] ReadError),
    /// The answer is not good enough.
    #[error("the certificate was not accepted, and nothing was replaced: {0}")]
    Refused(#[from] VerifyError),
    /// The server that looks at it does not accept it.
    #[error("{} refused the new certificate ({}) and accepts the old one, which stays in place; \
        the request waits on", .0.server, .0.answer)]
    RefusedBy(Refusal),
    /// A key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A request could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The new files could not be put together.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a request for each of these credentials. One that has no answer yet is made again for the
/// same key.
///
/// # Errors When it could not begin; what goes wrong with single credentials is in the results.
pub fn requests(node: &Node, names: &[CredentialName]) -> Result<Vec<Outcome>, PassError> {
    let (store, _) = open(node)?;
    let asked =
        node.catalog.credentials.iter().filter(|credential| names.contains(&credential.name));
    Ok(asked.map(|credential| (credential.name.clone(), make(node, &store, credential))).collect())
}

/// The credentials whose authority has its key elsewhere; what kubelet asks for by itself is its
/// business.
#[must_use]
pub fn signed_elsewhere(node: &Node) -> Vec<CredentialName> {
    let elsewhere = |credential: &&Credential| {
        if credential.renewal != Renewal::Ours {
            return false;
        }
        let is_there = load(&node.root, credential).stored().is_some();
        is_there && authority(node, credential).is_ok_and(|(_, loaded)| loaded.is_external())
    };
    node.catalog
        .credentials
        .iter()
        .filter(elsewhere)
        .map(|credential| credential.name.clone())
        .collect()
}

fn open(node: &Node) -> Result<(Store<'_>, Recovered), PassError> {
    if node.platform == Platform::StarlingX {
        return Err(PassError::Platform);
    }
    Ok(Store::open(&node.root, &node.settings.paths.state, PATIENCE, &files(node))?)
}

fn make(
    node: &Node,
    store: &Store<'_>,
    credential: &Credential,
) -> Result<Requested, RequestError> {
    let (authority, loaded) = authority(node, credential)?;
    if matches!(loaded, LoadedAuthority::Present { key: LoadedKey::Usable(_), .. }) {
        return Err(RequestError::SignedHere(authority.name.to_string()));
    }
    let stored = stored(load(&node.root, credential))?;
    let (key, again) = match store.requested_key(&credential.name)? {
        Some(key) => (PrivateKey::from_pem(key.expose())?, true),
        None => (
            PrivateKey::generate(&act::algorithm(
                *node.settings.renewal.key_algorithm,
                &stored.certificate,
            ))?,
            false,
        ),
    };
    let request = request(&stored.certificate, &key)?;
    let file = store.keep_request(&credential.name, &key.to_pem()?, &request)?;
    Ok(Requested { file, request, again })
}

fn authority<'n>(
    node: &'n Node,
    credential: &Credential,
) -> Result<(&'n Authority, LoadedAuthority), RequestError> {
    let authority = node.catalog.authority_of(credential).ok_or(RequestError::NoAuthority)?;
    Ok((authority, load_authority(&node.root, authority)))
}

fn stored(loaded: Loaded) -> Result<Stored, RequestError> {
    let trouble = match loaded {
        Loaded::KeyMissing(stored, _) | Loaded::Mismatched(stored, _) | Loaded::Whole(stored) => {
            return Ok(*stored);
        }
        Loaded::Absent => "its files do not exist".to_owned(),
        Loaded::Unreadable(reason)
        | Loaded::Damaged(reason)
        | Loaded::CertificateMissing(reason) => reason,
    };
    Err(RequestError::NoCertificate(trouble))
}

/// Puts an answer in the place of the old certificate, with the key that waits for it.
///
/// # Errors
/// The first thing that is wrong.
pub fn install(
    node: &Node,
    name: &CredentialName,
    answer: &[u8],
    now: Timestamp,
) -> Result<Result<Installed, RequestError>, PassError> {
    let (mut store, recovered) = open(node)?;
    let credential = node.catalog.credentials.iter().find(|one| one.name == *name);
    Ok(credential
        .ok_or(RequestError::NoAuthority)
        .and_then(|one| put(node, &mut store, one, answer, now, recovered)))
}

fn put(
    node: &Node,
    store: &mut Store<'_>,
    credential: &Credential,
    answer: &[u8],
    now: Timestamp,
    recovered: Recovered,
) -> Result<Installed, RequestError> {
    let key = store.requested_key(&credential.name)?.ok_or(RequestError::NoRequest)?;
    let key = PrivateKey::from_pem(key.expose())?;
    let certificate = certificates(answer)?.into_iter().next().ok_or(RequestError::AnotherKey)?;
    if !key.fits(&certificate) {
        return Err(RequestError::AnotherKey);
    }
    let (authority, loaded) = authority(node, credential)?;
    let issuer = issuer(&certificate, authority, loaded, now)?;
    let old = load(&node.root, credential);
    let works = matches!(old, Loaded::Whole(_));
    let stored = stored(old)?;
    // Before anything is written, and again by what was.
    verify_answer(&certificate, &stored.certificate, &issuer, now)?;
    let files = stored.compose(&certificate, &key.to_pem()?)?.files;
    let change = Change {
        credential: credential.name.clone(),
        files,
        link: None,
        backup: store::Backup::Required,
    };
    let change = store.stage(change)?.check(|contents| check(&stored, &issuer, contents, now))?;
    let mut notes =
        if works { trial(node, credential, (&certificate, &key), &stored)? } else { Vec::new() };
    let before = store.backups().generations();
    let commit = store.commit(vec![change], now, usize::from(node.settings.backups.keep.get()));
    commit.outcomes.into_iter().try_for_each(|outcome| outcome.result)?;
    let backup =
        store.backups().generations().into_iter().next().filter(|newest| !before.contains(newest));
    notes.extend(commit.notes);
    if let Err(e) = store.forget_request(&credential.name) {
        notes.push(format!("{e}; the request is answered all the same"));
    }
    Ok(Installed {
        not_after: certificate.not_after,
        serial: certificate.serial.to_string(),
        backup,
        recovered,
        notes,
    })
}

/// Shows it to the server that looks at it, as a renewed one is, beside the old one, which works.
/// The servers of this machine have nothing to do with the disk of another one.
fn trial(
    node: &Node,
    credential: &Credential,
    new: (&Certificate, &PrivateKey),
    old: &Stored,
) -> Result<Vec<String>, RequestError> {
    match node.catalog.trials.get(&credential.name).filter(|_| node.root.is_host()) {
        Some(at) => {
            act::try_one(&node.root, at, credential, new, old).map_err(RequestError::RefusedBy)
        }
        None => Ok(Vec::new()),
    }
}

/// The anchor that signed a certificate; of several, the one that is valid and expires last.
fn issuer(
    certificate: &Certificate,
    authority: &Authority,
    loaded: LoadedAuthority,
    now: Timestamp,
) -> Result<Certificate, RequestError> {
    match loaded {
        LoadedAuthority::Present { anchors, .. } => {
            let issuer = anchors.latest_of(now, |one| certificate.is_signed_by(one)).cloned();
            issuer.ok_or_else(|| {
                RequestError::AnotherAuthority(
                    certificate.issuer.to_string(),
                    authority.name.to_string(),
                )
            })
        }
        LoadedAuthority::Absent => {
            Err(RequestError::Authority(format!("{} does not exist", authority.certificate)))
        }
        LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
            Err(RequestError::Authority(reason))
        }
    }
}

fn check(
    stored: &Stored,
    issuer: &Certificate,
    contents: &[Secret],
    now: Timestamp,
) -> Result<(), RequestError> {
    let (certificate, key) = stored.read_back(contents)?;
    if !key.fits(&certificate) {
        return Err(RequestError::AnotherKey);
    }
    Ok(verify_answer(&certificate, &stored.certificate, issuer, now)?)
}

//! Certificates that an external CA signs: the signing request, and the installation of the signed
//! certificate in the place of the old one.
//!
//! A signed certificate is installed as a renewed one is: checked against the old certificate and
//! the CA, staged, read back, backed up, journaled. The key is made here, waits in the state
//! directory, and never leaves the node.

use std::path::PathBuf;

use super::memory::note_put_in_place;
use super::{PassError, open_store};
use crate::act::kubelet::{self, Replacing};
use crate::act::{self, NewIssuer, Refusal, RenewError, trust_besides, trust_in_renewals};
use crate::credentials::{
    ChainToAnchor, ComposeError, Loaded, LoadedAuthority, LoadedKey, ObservedFiles, Stored, load,
    load_authority,
};
use crate::formats::x509::{
    Certificate, IssueError, KeyError, PrivateKey, ReadError, VerifyError, certificates, request,
    verify_answer,
};
use crate::model::{
    Authority, Credential, CredentialFacts, CredentialName, KubeletClient, Renewal, Replaced,
    Secret, Signer, Timestamp,
};
use crate::observe::{Node, Platform, observe};
use crate::plan::not_known;
use crate::state::{forget_request, keep_request, requested_key};
use crate::store::{self, Change, Generation, Recovered, Store, StoreError};

/// A signing request that waits for its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Its file.
    pub file: PathBuf,
    /// The request itself, in PEM.
    pub request: String,
    /// Whether its key is that of an earlier request, for which no certificate was installed yet.
    pub again: bool,
}

/// A credential, and what became of its request.
pub type Outcome = (CredentialName, Result<Requested, RequestError>);

/// A signed certificate that is in place.
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

/// Why there is no request, or why a signed certificate was not installed. Nothing was replaced,
/// unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No CA is known for it.
    #[error("neither the profile nor the configuration names its CA")]
    NoAuthority,
    /// Its CA's key is on this node.
    #[error("the key of its CA {0} is on this node: kubecertd renew signs it")]
    SignedHere(String),
    /// The CA's certificate, which is needed for checking the signed one, can't be used.
    #[error("its CA can't be used: {0}")]
    Authority(String),
    /// There is no certificate to take names and usages from.
    #[error("there is no certificate to take the names and usages from: {0}")]
    NoCertificate(String),
    /// It is kubelet's, and not known to be for this node.
    #[error("{0}")]
    NotKnown(String),
    /// It is kubelet's, and can't be requested or put in place.
    #[error(transparent)]
    Kubelet(#[from] RenewError),
    /// No key waits for a signed certificate.
    #[error(
        "there is no request for it on this node: kubecertd csr makes one; a certificate for a \
         request from another machine has its key there"
    )]
    NoRequest,
    /// The certificate is for another key.
    #[error(
        "the certificate is not for the key of the open request on this node; is it for another \
         request?"
    )]
    AnotherKey,
    /// The CA of this node did not sign it.
    #[error(
        "the certificate was signed by {issuer}, which is not in the file of the CA {authority} \
         ({file}); if an intermediate signed it, append the intermediate to the file, so that the \
         chain leads to a certificate in the CA's file"
    )]
    AnotherAuthority {
        /// The issuer that it names.
        issuer: String,
        /// The authority.
        authority: String,
        /// The authority's file.
        file: String,
    },
    /// The file holds no certificate.
    #[error("the certificate can't be read: {0}")]
    Unreadable(#[from] ReadError),
    /// The certificate does not pass the checks.
    #[error("the certificate was not accepted, and nothing was replaced: {0}")]
    Refused(#[from] VerifyError),
    /// The server to which it was shown refuses it.
    #[error("{} refused the new certificate ({}) and accepts the old one, which stays in place; \
        the request stays open", .0.server, .0.answer)]
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

/// Makes a signing request for each of these credentials. One without a certificate yet is made
/// again for the same key.
///
/// # Errors
/// When it could not begin; what goes wrong with single credentials is in the results.
pub fn requests(
    node: &Node,
    names: &[CredentialName],
    now: Timestamp,
) -> Result<Vec<Outcome>, PassError> {
    let (store, _) = open(node)?;
    let asked =
        node.catalog.credentials.iter().filter(|credential| names.contains(&credential.name));
    let outcome = |one: &Credential| (one.name.clone(), make(node, &store, one, now));
    Ok(asked.map(outcome).collect())
}

/// The credentials with an external CA, without those for which kubelet makes requests by itself.
#[must_use]
pub fn externally_signed(node: &Node) -> Vec<CredentialName> {
    let is_external = |credential: &&Credential| {
        if credential.renewal != Renewal::Ours {
            return false;
        }
        let is_there = load(&node.root, credential).stored().is_some();
        is_there && authority(node, credential).is_ok_and(|(_, loaded)| loaded.is_external())
    };
    node.catalog
        .credentials
        .iter()
        .filter(is_external)
        .map(|credential| credential.name.clone())
        .collect()
}

fn open(node: &Node) -> Result<(Store<'_>, Recovered), PassError> {
    if node.platform == Platform::StarlingX {
        return Err(PassError::Platform);
    }
    Ok(open_store(node)?)
}

fn make(
    node: &Node,
    store: &Store<'_>,
    credential: &Credential,
    now: Timestamp,
) -> Result<Requested, RequestError> {
    let (authority, loaded) = authority(node, credential)?;
    let Original { stored, .. } = original(node, credential, &loaded, now)?;
    let signer = loaded.above(&stored.certificate, &stored.further).signer;
    // An intermediate below the authority may be elsewhere while the authority's own key is here.
    let signs_here = matches!(loaded, LoadedAuthority::Present { key: LoadedKey::Usable(_), .. });
    if signs_here && signer != Signer::Intermediate {
        return Err(RequestError::SignedHere(authority.name.to_string()));
    }
    let (key, again) = match requested_key(store, &credential.name)? {
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
    let file = keep_request(store, &credential.name, &key.to_pem()?, &request)?;
    Ok(Requested { file, request, again })
}

fn authority<'n>(
    node: &'n Node,
    credential: &Credential,
) -> Result<(&'n Authority, LoadedAuthority), RequestError> {
    let authority = node.catalog.authority_of(credential).ok_or(RequestError::NoAuthority)?;
    Ok((authority, load_authority(&node.root, authority)))
}

/// What a signed certificate takes the place of.
struct Original {
    stored: Stored,
    /// Whether it can be used.
    works: bool,
    /// How kubelet comes to it, where it is kubelet's own.
    kubelet: Option<KubeletClient>,
}

fn original(
    node: &Node,
    credential: &Credential,
    authority: &LoadedAuthority,
    now: Timestamp,
) -> Result<Original, RequestError> {
    if credential.renewal == Renewal::Kubelet
        && let Some((facts, client)) = kubelet_facts(node, credential)
    {
        return kubelets(node, &facts, client, authority, now);
    }
    let old = load(&node.root, credential);
    let works = matches!(old, Loaded::Whole(_));
    Ok(Original { stored: stored(old)?, works, kubelet: None })
}

fn kubelet_facts(node: &Node, credential: &Credential) -> Option<(CredentialFacts, KubeletClient)> {
    let files = ObservedFiles::of(&node.root);
    let observed = observe(&files, &node.catalog, &node.settings.paths.state);
    let facts = observed.credentials.into_iter().find(|one| one.credential == *credential)?;
    let client = facts.kubelet.clone()?;
    Some((facts, client))
}

/// kubelet's own client certificate. Where it is unusable, it is requested for the node that the
/// other files of kubelet name.
fn kubelets(
    node: &Node,
    facts: &CredentialFacts,
    client: KubeletClient,
    authority: &LoadedAuthority,
    now: Timestamp,
) -> Result<Original, RequestError> {
    if let Some(reason) = not_known(facts, now).or_else(|| client.obstacle().cloned()) {
        return Err(RequestError::NotKnown(reason));
    }
    let stored = kubelet::original(&node.root, facts, &client, authority)?;
    Ok(Original { stored, works: false, kubelet: Some(client) })
}

fn stored(loaded: Loaded) -> Result<Stored, RequestError> {
    let trouble = match loaded {
        Loaded::KeyMissing(stored, _) | Loaded::Mismatched(stored, _) | Loaded::Whole(stored) => {
            return Ok(*stored);
        }
        Loaded::Absent => "its files do not exist".to_owned(),
        Loaded::Unreadable(reason)
        | Loaded::NoCertificate(reason)
        | Loaded::Damaged(reason)
        | Loaded::CertificateMissing(reason) => reason,
    };
    Err(RequestError::NoCertificate(trouble))
}

/// Installs a signed certificate in the place of the old one, with the key that waits for it.
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
    let key = requested_key(store, &credential.name)?.ok_or(RequestError::NoRequest)?;
    let key = PrivateKey::from_pem(key.expose())?;
    let mut answer = certificates(answer)?.into_iter();
    let certificate = answer.next().ok_or(RequestError::AnotherKey)?;
    if !key.fits(&certificate) {
        return Err(RequestError::AnotherKey);
    }
    let (authority, loaded) = authority(node, credential)?;
    let answer: Vec<_> = answer.collect();
    let path = path_to_anchor(&certificate, &answer, authority, &loaded, now)?;
    let Original { stored, works, kubelet } = original(node, credential, &loaded, now)?;
    // Before anything is written, and once more against what was written.
    let (chain, anchor) = &path;
    verify_answer(&certificate, chain, &stored.certificate, anchor, now)?;
    let files = match chain.as_slice() {
        [] => stored.compose(&certificate, &key.to_pem()?)?.files,
        chain => stored.compose_chain(&certificate, chain, &key.to_pem()?)?.files,
    };
    let Replacing { files, link } = match &kubelet {
        Some(client) => {
            kubelet::files(&node.root, &credential.location, client, &loaded, files, now)?
        }
        None => Replacing { files, link: None },
    };
    let mut change = Change {
        credential: credential.name.clone(),
        files,
        link,
        backup: store::Backup::Required,
    };
    let before = loaded.chain_to_anchor(&stored.certificate, &stored.further, now);
    let issuer = NewIssuer {
        signer: anchor,
        anchors: loaded.anchors().collect(),
        file: &authority.certificate,
        credentials: vec![credential.name.clone()],
    };
    let is_other = before.is_none_or(|(_, before)| !before.is_of_same_ca(anchor));
    // No CA has signed a template.
    let was_signed =
        kubelet.is_none() || loaded.signer_of(&stored.certificate) == Signer::Authority;
    let issuers: Vec<_> = (is_other && was_signed).then_some(issuer).into_iter().collect();
    let kubeconfigs = node.catalog.kubeconfig_files();
    let mut trusts = trust_in_renewals(&node.root, &issuers, &mut [&mut change], &kubeconfigs);
    let change = store.stage(change)?.check(|contents| check(&stored, &path, contents, now))?;
    let mut notes =
        if works { trial(node, credential, (&certificate, chain, &key), &stored)? } else { vec![] };
    let mut changes = Vec::new();
    for (trust, trusting) in trust_besides(&node.root, store, &issuers, &kubeconfigs, &trusts) {
        changes.extend(trusting);
        trusts.push(trust);
    }
    changes.push(change);
    let commit = store.commit(changes, now, usize::from(node.settings.backups.keep.get()));
    let (own, others): (Vec<_>, Vec<_>) =
        commit.outcomes.into_iter().partition(|outcome| outcome.credential == credential.name);
    own.into_iter().try_for_each(|outcome| outcome.result)?;
    for trust in trusts {
        let of_it = others.iter().find(|outcome| outcome.credential == *trust.credential());
        let problem = of_it.and_then(|outcome| outcome.result.as_ref().err());
        notes.extend(trust.notes(problem.map(ToString::to_string)));
    }
    let backup = commit.backups.into_iter().next();
    notes.extend(commit.notes);
    if kubelet.is_some() {
        notes.extend(remember(node, credential, &certificate, now));
    }
    if let Err(e) = forget_request(store, &credential.name) {
        notes.push(format!("{e}; the certificate is installed, and the request is closed"));
    }
    Ok(Installed {
        not_after: certificate.not_after,
        serial: certificate.serial.to_string(),
        backup,
        recovered,
        notes,
    })
}

/// Notes that kubelet's certificate was put in place here, for which kubelet is restarted.
fn remember(
    node: &Node,
    credential: &Credential,
    certificate: &Certificate,
    now: Timestamp,
) -> Option<String> {
    let replaced = Replaced {
        content: credential.name.clone().into(),
        fingerprint: certificate.fingerprint,
        not_after: certificate.not_after,
    };
    let noted = note_put_in_place(node, &[replaced], now);
    noted.err().map(|e| format!("{e}; kubelet is not restarted: run systemctl restart kubelet"))
}

/// Shows the certificate to its server, as a renewed one is shown. On the disk of another machine
/// no server is asked.
fn trial(
    node: &Node,
    credential: &Credential,
    new: act::New<'_>,
    old: &Stored,
) -> Result<Vec<String>, RequestError> {
    match node.catalog.trials.get(&credential.name).filter(|_| node.root.is_host()) {
        Some(at) => {
            act::try_one(&node.root, at, credential, new, old).map_err(RequestError::RefusedBy)
        }
        None => Ok(Vec::new()),
    }
}

/// The way from a certificate to an anchor, by the certificates behind it. An external CA may have
/// two tiers or more.
fn path_to_anchor(
    certificate: &Certificate,
    answer: &[Certificate],
    authority: &Authority,
    loaded: &LoadedAuthority,
    now: Timestamp,
) -> Result<ChainToAnchor, RequestError> {
    match loaded {
        LoadedAuthority::Present { .. } => {
            let path = loaded.chain_to_anchor(certificate, answer, now);
            path.ok_or_else(|| RequestError::AnotherAuthority {
                issuer: certificate.issuer.to_string(),
                authority: authority.name.to_string(),
                file: authority.certificate.to_string(),
            })
        }
        LoadedAuthority::Absent => {
            Err(RequestError::Authority(format!("{} does not exist", authority.certificate)))
        }
        LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
            Err(RequestError::Authority(reason.clone()))
        }
    }
}

fn check(
    stored: &Stored,
    (chain, anchor): &ChainToAnchor,
    contents: &[Secret],
    now: Timestamp,
) -> Result<(), RequestError> {
    let (certificate, key) = stored.read_back(contents)?;
    if !key.fits(&certificate) {
        return Err(RequestError::AnotherKey);
    }
    let written = stored.chain_in(contents);
    let written = written.get(1..=chain.len()).unwrap_or_default();
    Ok(verify_answer(&certificate, written, &stored.certificate, anchor, now)?)
}

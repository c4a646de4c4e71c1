//! Trust in another CA: where a credential gets another issuer than it had, the kubeconfigs of this
//! node trust that CA from the same commit on. The CA certificates that they have stay.

use crate::credentials::{ComposeError, Files, trusting};
use crate::formats::x509::Certificate;
use crate::model::{AbsolutePath, CredentialName, Digest, Secret};
use crate::store::{self, Change, Checked, Kind, NewFile, Store, StoreError};
use crate::sys::{FileError, Root};

/// A kubeconfig, and the credential that it is part of.
pub type KubeconfigFile = (CredentialName, AbsolutePath);

/// A CA that issues a credential which another CA of its file issued before.
#[derive(Debug)]
pub struct NewIssuer<'c> {
    /// Its certificate.
    pub signer: &'c Certificate,
    /// All CA certificates of the file.
    pub anchors: Vec<&'c Certificate>,
    /// The file.
    pub file: &'c AbsolutePath,
    /// What it issues now.
    pub credentials: Vec<CredentialName>,
}

/// Why a kubeconfig does not trust another CA.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0} is writable by others than root")]
    WritableByOthers(AbsolutePath),
    #[error("the written file, read back, does not trust it")]
    ReadBack,
}

/// What came of the trust of one kubeconfig.
#[derive(Debug)]
pub struct Trust<'k> {
    path: &'k AbsolutePath,
    /// The credential of the change that it is part of.
    credential: CredentialName,
    /// The new issuers that it trusts once the change is made, each with the file of its CA.
    gained: Vec<(&'k Certificate, &'k AbsolutePath)>,
    failures: Vec<String>,
}

impl Trust<'_> {
    /// The notes for the operator, by what became of the change.
    #[must_use]
    pub fn notes(self, problem: Option<String>) -> Vec<String> {
        let Self { path, gained, mut failures, .. } = self;
        failures.extend(gained.into_iter().map(|(signer, file)| match &problem {
            None => gain(path, signer, file),
            Some(problem) => failure(path, signer, problem),
        }));
        failures
    }

    /// The credential of the change that it is part of.
    #[must_use]
    pub fn credential(&self) -> &CredentialName {
        &self.credential
    }
}

/// Has the kubeconfigs that renewals replace trust the new issuers, in the change of the renewal.
#[must_use]
pub fn trust_in_renewals<'k>(
    root: &Root,
    issuers: &[NewIssuer<'k>],
    renewals: &mut [&mut Change],
    kubeconfigs: &'k [KubeconfigFile],
) -> Vec<Trust<'k>> {
    let mut all = Vec::new();
    if issuers.is_empty() {
        return all;
    }
    for (credential, path) in kubeconfigs {
        let is_own = |change: &&mut &mut Change| {
            change.credential == *credential || change.files.iter().any(|file| file.path == *path)
        };
        if let Some(change) = renewals.iter_mut().find(is_own) {
            all.push(trust_in(root, change, path, issuers));
        }
    }
    all
}

/// Has the other kubeconfigs trust the new issuers, in changes of their own.
#[must_use]
pub fn trust_besides<'k>(
    root: &Root,
    store: &Store<'_>,
    issuers: &[NewIssuer<'k>],
    kubeconfigs: &'k [KubeconfigFile],
    done: &[Trust<'_>],
) -> Vec<(Trust<'k>, Option<Checked>)> {
    if issuers.is_empty() {
        return Vec::new();
    }
    let others =
        kubeconfigs.iter().filter(|(_, path)| !done.iter().any(|trust| trust.path == path));
    let alone = |(credential, path): &'k KubeconfigFile| {
        let (mut trust, file) = new_file(root, credential, path, issuers);
        let change = file.and_then(|file| match stage(store, credential, file, &trust, issuers) {
            Ok(change) => Some(change),
            Err(e) => {
                let failed = trust.gained.drain(..).map(|(signer, _)| failure(path, signer, &e));
                trust.failures.extend(failed);
                None
            }
        });
        (trust, change)
    };
    others.map(alone).collect()
}

fn gain(path: &AbsolutePath, signer: &Certificate, file: &AbsolutePath) -> String {
    format!(
        "{path}: gets the CA certificates of {file}, since credentials are issued by another CA \
         now, {}: \
         restart the programs that use it and are no services of kubecertd, and update the \
         kubeconfigs of other nodes and users",
        signer.subject
    )
}

fn failure(path: &AbsolutePath, signer: &Certificate, problem: &dyn std::fmt::Display) -> String {
    let signer = &signer.subject;
    format!("{path}: does not trust {signer}, which issues credentials now: {problem}")
}

/// In the change of a renewal.
fn trust_in<'k>(
    root: &Root,
    change: &mut Change,
    path: &'k AbsolutePath,
    issuers: &[NewIssuer<'k>],
) -> Trust<'k> {
    let credential = change.credential.clone();
    let Some(file) = change.files.iter_mut().find(|file| file.path == *path) else {
        let (trust, file) = new_file(root, &credential, path, issuers);
        change.files.extend(file);
        return trust;
    };
    let (trust, content) = trusting_all(root, credential, path, &file.content, issuers);
    if let Some(content) = content {
        file.content = content;
    }
    trust
}

/// The content that trusts all issuers; `None` where it stays as it is.
fn trusting_all<'k>(
    root: &Root,
    credential: CredentialName,
    path: &'k AbsolutePath,
    content: &Secret,
    issuers: &[NewIssuer<'k>],
) -> (Trust<'k>, Option<Secret>) {
    let mut trust = Trust { path, credential, gained: Vec::new(), failures: Vec::new() };
    let mut new = None;
    for issuer in issuers {
        match trusting_one(root, path, new.as_ref().unwrap_or(content), issuer) {
            Ok(None) => {}
            Ok(Some(content)) => {
                new = Some(content);
                trust.gained.push((issuer.signer, issuer.file));
            }
            Err(e) => trust.failures.push(failure(path, issuer.signer, &e)),
        }
    }
    (trust, new)
}

fn trusting_one(
    root: &Root,
    path: &AbsolutePath,
    content: &Secret,
    issuer: &NewIssuer<'_>,
) -> Result<Option<Secret>, TrustError> {
    let Some(content) = trusting(path, content, issuer.signer, &issuer.anchors)? else {
        return Ok(None);
    };
    refuse_others(root, issuer.file)?;
    refuse_others(root, path)?;
    Ok(Some(content))
}

/// What others can write is neither trusted by a file of root's, nor replaced by root.
fn refuse_others(root: &Root, file: &AbsolutePath) -> Result<(), TrustError> {
    if root.is_writable_by_others(file).unwrap_or(true) {
        return Err(TrustError::WritableByOthers(file.clone()));
    }
    Ok(())
}

/// A kubeconfig that no renewal replaces; no file where it stays as it is.
fn new_file<'k>(
    root: &Root,
    credential: &CredentialName,
    path: &'k AbsolutePath,
    issuers: &[NewIssuer<'k>],
) -> (Trust<'k>, Option<NewFile>) {
    let credential = credential.clone();
    let old = match Files::read(root, path) {
        Ok(Some(old)) => old,
        Ok(None) => {
            let (gained, failures) = (Vec::new(), Vec::new());
            return (Trust { path, credential, gained, failures }, None);
        }
        Err(e) => {
            let failures = issuers.iter().map(|issuer| failure(path, issuer.signer, &e)).collect();
            return (Trust { path, credential, gained: Vec::new(), failures }, None);
        }
    };
    let (trust, content) = trusting_all(root, credential, path, &old, issuers);
    let old = Some(Digest::of(old.expose()));
    let file = |content| NewFile { path: path.clone(), content, old, kind: Kind::Private };
    (trust, content.map(file))
}

fn stage(
    store: &Store<'_>,
    credential: &CredentialName,
    file: NewFile,
    trust: &Trust<'_>,
    issuers: &[NewIssuer<'_>],
) -> Result<Checked, TrustError> {
    let path = file.path.clone();
    let (credential, backup) = (credential.clone(), store::Backup::Wanted);
    let change = Change { credential, files: vec![file], link: None, backup };
    store.stage(change)?.check(|contents| {
        let trusts = |issuer: &NewIssuer<'_>| {
            let read = |content| trusting(&path, content, issuer.signer, &issuer.anchors);
            contents.iter().all(|content| matches!(read(content), Ok(None)))
        };
        let is_gained = |issuer: &&NewIssuer<'_>| {
            trust.gained.iter().any(|(one, _)| one.fingerprint == issuer.signer.fingerprint)
        };
        if issuers.iter().filter(is_gained).all(trusts) {
            Ok(())
        } else {
            Err(TrustError::ReadBack)
        }
    })
}

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
pub(super) struct NewIssuer<'c> {
    pub(super) signer: &'c Certificate,
    /// All CA certificates of the file.
    pub(super) anchors: Vec<&'c Certificate>,
    pub(super) file: &'c AbsolutePath,
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
    #[error("others than root can write {0}")]
    WritableByOthers(AbsolutePath),
    #[error("what was written, read back, does not trust it")]
    ReadBack,
}

/// Has the kubeconfigs trust the new issuers: those of renewals in their changes, the others in
/// changes of their own, which are returned. The notes name each file and what happened.
pub(super) fn trust_new_issuers(
    root: &Root,
    store: &Store<'_>,
    issuers: &[NewIssuer<'_>],
    renewals: &mut [&mut Change],
    kubeconfigs: &[KubeconfigFile],
) -> (Vec<Checked>, Vec<String>) {
    let (mut changes, mut notes) = (Vec::new(), Vec::new());
    for issuer in issuers {
        for (credential, path) in kubeconfigs {
            let mut renewals = renewals.iter_mut();
            let result = match renewals.find(|change| change.credential == *credential) {
                Some(change) => trust_in(root, change, path, issuer),
                None => trust_alone(root, store, credential, path, issuer).map(|change| {
                    let is_new = change.is_some();
                    changes.extend(change);
                    is_new
                }),
            };
            notes.extend(note(path, issuer, result));
        }
    }
    (changes, notes)
}

fn note(
    path: &AbsolutePath,
    issuer: &NewIssuer<'_>,
    result: Result<bool, TrustError>,
) -> Option<String> {
    let signer = &issuer.signer.subject;
    match result {
        Ok(false) => None,
        Ok(true) => Some(format!(
            "{path}: gets the CA certificates of {}, since credentials get another issuer, \
             {signer}: restart what read it before (for kubelet.conf, kubelet), and see to the \
             kubeconfigs of other nodes and users",
            issuer.file
        )),
        Err(e) => Some(format!(
            "{path}: does not trust {signer}, by which credentials are issued now: {e}"
        )),
    }
}

/// In the change of a renewal. Whether there was anything to do.
fn trust_in(
    root: &Root,
    change: &mut Change,
    path: &AbsolutePath,
    issuer: &NewIssuer<'_>,
) -> Result<bool, TrustError> {
    if let Some(file) = change.files.iter_mut().find(|file| file.path == *path) {
        let Some(content) = trusting(path, &file.content, issuer.signer, &issuer.anchors)? else {
            return Ok(false);
        };
        refuse_others(root, issuer.file)?;
        refuse_others(root, path)?;
        file.content = content;
        return Ok(true);
    }
    let file = new_file(root, path, issuer)?;
    let is_new = file.is_some();
    change.files.extend(file);
    Ok(is_new)
}

fn trust_alone(
    root: &Root,
    store: &Store<'_>,
    credential: &CredentialName,
    path: &AbsolutePath,
    issuer: &NewIssuer<'_>,
) -> Result<Option<Checked>, TrustError> {
    let Some(file) = new_file(root, path, issuer)? else { return Ok(None) };
    let credential = credential.clone();
    let backup = store::Backup::Wanted;
    let change = Change { credential, files: vec![file], link: None, backup };
    let checked = store.stage(change)?.check(|contents| {
        let trusts = |content: &Secret| {
            matches!(trusting(path, content, issuer.signer, &issuer.anchors), Ok(None))
        };
        if contents.iter().all(trusts) { Ok(()) } else { Err(TrustError::ReadBack) }
    })?;
    Ok(Some(checked))
}

/// What others can write is neither trusted by a file of root's, nor replaced by root.
fn refuse_others(root: &Root, file: &AbsolutePath) -> Result<(), TrustError> {
    if root.is_writable_by_others(file).unwrap_or(true) {
        return Err(TrustError::WritableByOthers(file.clone()));
    }
    Ok(())
}

/// The new content of a kubeconfig; `None` where it stays as it is.
fn new_file(
    root: &Root,
    path: &AbsolutePath,
    issuer: &NewIssuer<'_>,
) -> Result<Option<NewFile>, TrustError> {
    let Some(old) = Files::read(root, path)? else { return Ok(None) };
    let Some(content) = trusting(path, &old, issuer.signer, &issuer.anchors)? else {
        return Ok(None);
    };
    refuse_others(root, issuer.file)?;
    refuse_others(root, path)?;
    let old = Some(Digest::of(old.expose()));
    Ok(Some(NewFile { path: path.clone(), content, old, kind: Kind::Private }))
}

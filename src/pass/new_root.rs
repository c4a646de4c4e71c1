//! A root CA of the operator's own: whether it can be one, and its installation before the cluster
//! exists.

use super::{PassError, open_store};
use crate::credentials::SuppliedRoot;
use crate::formats::x509::{Certificate, KeyError, PrivateKey, ReadError, certificates};
use crate::model::{AbsolutePath, Authority, CredentialName, InvalidName, Secret, Timestamp};
use crate::observe::{Node, Platform};
use crate::plan::{RootFault, RootJudgement, RootPolicy, judge_root};
use crate::store::{self, Change, Checked, Kind, LARGEST_FILE, NewFile, Store, StoreError};
use crate::sys::FileError;

/// A root CA with what is thought of it.
#[derive(Debug)]
pub struct JudgedRoot {
    /// The certificate and its key.
    pub root: SuppliedRoot,
    /// What is thought of it.
    pub judgement: RootJudgement,
}

/// A root CA that is in place.
#[derive(Debug)]
pub struct InstalledRoot {
    /// Its certificate.
    pub certificate: Certificate,
    /// The file of the certificate.
    pub certificate_file: AbsolutePath,
    /// The file of the key.
    pub key_file: AbsolutePath,
    /// Those of the two that were written; the others were there already, the same.
    pub written: Vec<AbsolutePath>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// Why a root CA was not installed. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum InstallRootError {
    /// This kind of node is not supported.
    #[error(transparent)]
    Platform(PassError),
    /// The profile has no root CA.
    #[error("the profile of this node has no root CA")]
    NoRoot,
    /// No key was given.
    #[error("the private key is needed too: kubecertd ca install CERT KEY")]
    NoKey,
    /// It can't be the root of a cluster.
    #[error("it can't be the root CA of a cluster: {}", list(.0))]
    Refused(Vec<RootFault>),
    /// There is something already.
    #[error(
        "{0} exists, and is not overwritten: a root CA is installed before kubeadm init or kubeadm \
         join, on a node that has nothing of a cluster yet"
    )]
    Exists(AbsolutePath),
    /// The files could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The files could not be put in place.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key could not be written as text.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was written can't be read.
    #[error("the written file can't be read back: {0}")]
    ReadBack(#[from] ReadError),
    /// What was written is not what was to be written.
    #[error("the written files, read back, are not the CA")]
    Changed,
    /// The name of the CA is no name, which should not happen.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

pub(super) fn list(faults: &[RootFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Judges a root CA for this node.
///
/// # Errors
/// When the profile of the node has no root CA.
pub fn judge(
    node: &Node,
    root: SuppliedRoot,
    allow_trusted: bool,
    now: Timestamp,
) -> Result<JudgedRoot, InstallRootError> {
    let authority = root_authority(node)?;
    let candidate = root.candidate(&node.root, authority, &node.catalog.credentials, now);
    let policy = RootPolicy {
        leaf_validity: node.validity,
        renew_before: node.settings.renewal.renew_before.as_duration(),
        allow_trusted,
    };
    let judgement = judge_root(&candidate, &policy, now);
    Ok(JudgedRoot { root, judgement })
}

/// Installs a root CA on a node without one, with the names, owners and modes of kubeadm's. Its
/// certificate and its key are written alone, in kubeadm's form, whatever else their files hold.
/// Where the certificate is there without its key, as with an external CA, only that is written.
///
/// # Errors
/// When it can't be the root CA of a cluster, or there is something of a cluster already.
pub fn install(
    node: &Node,
    root: SuppliedRoot,
    allow_trusted: bool,
    now: Timestamp,
) -> Result<InstalledRoot, InstallRootError> {
    if node.platform == Platform::StarlingX {
        return Err(InstallRootError::Platform(PassError::Platform));
    }
    let JudgedRoot { root, judgement } = judge(node, root, allow_trusted, now)?;
    if !judgement.is_usable() {
        return Err(InstallRootError::Refused(judgement.faults));
    }
    let SuppliedRoot { certificate, key: Some(key) } = root else {
        return Err(InstallRootError::NoKey);
    };
    let authority = root_authority(node)?;
    // Completes an earlier installation that was interrupted.
    let (mut store, recovered) = open_store(node)?;
    let warnings = judgement.warnings.iter().map(ToString::to_string);
    let written = missing(node, authority, &certificate, &key)?;
    let mut installed = InstalledRoot {
        certificate,
        certificate_file: authority.certificate.clone(),
        key_file: authority.key.clone(),
        written,
        notes: recovered.notes.into_iter().chain(warnings).collect(),
    };
    if !installed.written.is_empty() {
        let InstalledRoot { certificate, written, .. } = &installed;
        let change = stage(node, &store, authority, written, certificate, &key)?;
        let commit = store.commit(vec![change], now, usize::from(node.settings.backups.keep.get()));
        commit.outcomes.into_iter().try_for_each(|outcome| outcome.result)?;
        installed.notes.extend(commit.notes);
    }
    let writable = node.root.writable_by_others(&authority.key).ok().flatten();
    installed.notes.extend(writable.map(|found| {
        format!(
            "{found}, so others than root can replace the root CA: make root its owner, and take \
             the right to write from all others (chown root:root, chmod go-w)"
        )
    }));
    Ok(installed)
}

fn root_authority(node: &Node) -> Result<&Authority, InstallRootError> {
    node.catalog.root_authority().ok_or(InstallRootError::NoRoot)
}

/// The files of the root CA that are missing: none where they hold this certificate alone, and its
/// key; the key's where that alone is missing; or both, on a node without anything of a cluster.
fn missing(
    node: &Node,
    authority: &Authority,
    certificate: &Certificate,
    key: &PrivateKey,
) -> Result<Vec<AbsolutePath>, InstallRootError> {
    let read = |file| node.root.read(file, LARGEST_FILE).ok().map(|content| content.bytes);
    let has_certificate = read(&authority.certificate)
        .and_then(|content| certificates(content.expose()).ok())
        .is_some_and(|found| found.iter().eq([certificate]));
    let has_key = read(&authority.key)
        .and_then(|content| PrivateKey::from_pem(content.expose()).ok())
        .is_some_and(|found| found.public_key_der() == key.public_key_der());
    if has_certificate && has_key {
        return Ok(Vec::new());
    }
    if has_certificate && node.root.stat(&authority.key)?.is_none() {
        return Ok(vec![authority.key.clone()]);
    }
    match first_of_cluster(node, authority) {
        Some(file) => Err(InstallRootError::Exists(file)),
        // kubeadm takes a certificate without its key for an external CA, so the key comes first.
        None => Ok(vec![authority.key.clone(), authority.certificate.clone()]),
    }
}

/// The first file that a root CA or a node of its cluster has.
fn first_of_cluster(node: &Node, authority: &Authority) -> Option<AbsolutePath> {
    let of_root = node
        .catalog
        .credentials
        .iter()
        .filter(|one| one.authority.as_ref() == Some(&authority.name))
        .flat_map(|one| one.location.files());
    [&authority.certificate, &authority.key]
        .into_iter()
        .chain(of_root)
        .chain(&node.manifests)
        .find(|file| match node.root.stat(file) {
            Ok(found) => found.is_some(),
            // Of one that can't be examined it is not known that it is not there.
            Err(e) => !e.is_not_found(),
        })
        .cloned()
}

/// Stages these files, each alone and in kubeadm's form.
fn stage(
    node: &Node,
    store: &Store<'_>,
    authority: &Authority,
    written: &[AbsolutePath],
    certificate: &Certificate,
    key: &PrivateKey,
) -> Result<Checked, InstallRootError> {
    for file in written {
        if let Some(dir) = file.as_path().parent().and_then(|dir| AbsolutePath::new(dir).ok()) {
            node.root.create_parents_of(&dir)?;
        }
        node.root.create_dir_of(file)?;
    }
    let file = |path: &AbsolutePath| -> Result<NewFile, KeyError> {
        let (content, kind) = if *path == authority.key {
            (key.to_pem()?, Kind::AuthorityKey)
        } else {
            (Secret::from(certificate.to_pem()), Kind::Certificate)
        };
        Ok(NewFile { path: path.clone(), content, old: None, kind })
    };
    let change = Change {
        credential: CredentialName::new(authority.name.as_str())?,
        files: written.iter().map(file).collect::<Result<_, _>>()?,
        link: None,
        backup: store::Backup::Unwanted,
    };
    store.stage(change)?.check(|contents| {
        let [written_key, others @ ..] = contents else { return Err(InstallRootError::Changed) };
        let mut is_whole = PrivateKey::from_pem(written_key.expose())?.fits(certificate);
        for written in others {
            is_whole &= certificates(written.expose())?.iter().eq([certificate]);
        }
        if is_whole { Ok(()) } else { Err(InstallRootError::Changed) }
    })
}

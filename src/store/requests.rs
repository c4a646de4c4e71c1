//! Keys that wait for an authority elsewhere to sign them, each with its request:
//! `requests/apiserver.key` and `.csr` in the state folder. Readable by root alone; what the
//! requests are for is no concern of this module.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::small::{alone, replace};
use super::{LARGEST_FILE, Store, StoreError};
use crate::model::{AbsolutePath, CredentialName, Secret, Timestamp};
use crate::sys::{Dir, FileError, Root, read_regular};

const FOLDER: &str = "requests";

/// A request that has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What it is for.
    pub credential: CredentialName,
    /// Where the request lies.
    pub file: PathBuf,
    /// When it was made.
    pub made: Timestamp,
}

/// The requests for these credentials that have no answer. Changes nothing.
///
/// # Errors
/// When the folder can't be looked at.
pub fn pending(
    root: &Root,
    state: &AbsolutePath,
    credentials: &[CredentialName],
) -> Result<Vec<Pending>, FileError> {
    let folder = match root.open_dir(&state.as_path().join(FOLDER)) {
        Ok(folder) => folder,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for credential in credentials {
        let name = file_name(credential, "csr");
        if let Some(stat) = folder.stat(&name)? {
            let made = Timestamp::from_seconds(stat.st_mtime);
            found.push(Pending {
                credential: credential.clone(),
                file: folder.path().join(name),
                made,
            });
        }
    }
    Ok(found)
}

impl Store<'_> {
    /// The key that waits for a credential's answer.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn requested_key(&self, credential: &CredentialName) -> Result<Option<Secret>, StoreError> {
        let folder = self.requests()?;
        let name = file_name(credential, "key");
        if folder.stat(&name)?.is_none() {
            return Ok(None);
        }
        let path = folder.path().join(&name);
        let content = read_regular(folder.open(&name)?, &path, LARGEST_FILE)?;
        alone(&content.stat, &path)?;
        Ok(Some(content.bytes))
    }

    /// Keeps a key and the request for it, and says where the request lies. The key is there first:
    /// a request is worth nothing without it.
    ///
    /// # Errors When they can't be written.
    pub fn keep_request(
        &self,
        credential: &CredentialName,
        key: &Secret,
        request: &str,
    ) -> Result<PathBuf, StoreError> {
        let folder = self.requests()?;
        replace(&folder, &file_name(credential, "key"), key.expose())?;
        let name = file_name(credential, "csr");
        replace(&folder, &name, request.as_bytes())?;
        Ok(folder.path().join(name))
    }

    /// Removes the key and the request, once they are answered.
    ///
    /// # Errors
    /// When they can't be removed.
    pub fn forget_request(&self, credential: &CredentialName) -> Result<(), StoreError> {
        let folder = self.requests()?;
        for kind in ["csr", "key"] {
            folder.remove(&file_name(credential, kind))?;
        }
        Ok(folder.sync()?)
    }

    fn requests(&self) -> Result<Dir, FileError> {
        let folder = self.folder.create_dir(OsStr::new(FOLDER))?;
        folder.make_private()?;
        Ok(folder)
    }
}

/// Flat, as kubeadm's names are: `etcd-server.key`.
fn file_name(credential: &CredentialName, kind: &str) -> OsString {
    format!("{}.{kind}", credential.as_str().replace('/', "-")).into()
}

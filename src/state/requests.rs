//! Certificate requests for an external CA, each with its private key: `requests/apiserver.key`
//! and `.csr` in the state directory, `etcd+server.key` for `etcd/server`; readable by root alone.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::file::{read_own, replace};
use crate::model::{AbsolutePath, CredentialName, Secret, Timestamp};
use crate::store::{LARGEST_FILE, Store, StoreError};
use crate::sys::{Dir, FileError, Root};

const DIR: &str = "requests";

/// A request that has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// The credential to be signed.
    pub credential: CredentialName,
    /// The path of the request.
    pub file: PathBuf,
    /// When the request was made.
    pub made: Timestamp,
}

/// Lists the requests for these credentials that have no answer. Changes nothing.
///
/// # Errors
/// When the directory can't be read.
pub fn pending_requests(
    root: &Root,
    state: &AbsolutePath,
    credentials: &[CredentialName],
) -> Result<Vec<PendingRequest>, FileError> {
    let dir = match root.open_dir(&state.as_path().join(DIR)) {
        Ok(dir) => dir,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for credential in credentials {
        let name = file_name(credential, "csr");
        if let Some(stat) = dir.stat(&name)? {
            let made = Timestamp::from_seconds(stat.st_mtime);
            found.push(PendingRequest {
                credential: credential.clone(),
                file: dir.path().join(name),
                made,
            });
        }
    }
    Ok(found)
}

/// Reads the private key of the request for a credential; `None` where there is no request. The
/// open store keeps other processes from changing it.
///
/// # Errors
/// When the key exists and can't be read, or others than root can have written it.
pub fn requested_key(
    store: &Store<'_>,
    credential: &CredentialName,
) -> Result<Option<Secret>, StoreError> {
    let dir = open_dir(store)?;
    let name = file_name(credential, "key");
    if dir.stat(&name)?.is_none() {
        return Ok(None);
    }
    Ok(Some(read_own(&dir, &name, LARGEST_FILE)?.bytes))
}

/// Writes a private key and the request for it, and returns the path of the request. The key is
/// written first: a request is useless without it.
///
/// # Errors
/// When they can't be written.
pub fn keep_request(
    store: &Store<'_>,
    credential: &CredentialName,
    key: &Secret,
    request: &str,
) -> Result<PathBuf, StoreError> {
    let dir = open_dir(store)?;
    replace(&dir, &file_name(credential, "key"), key.expose())?;
    let name = file_name(credential, "csr");
    replace(&dir, &name, request.as_bytes())?;
    Ok(dir.path().join(name))
}

/// Removes the private key and the request after the answer was installed.
///
/// # Errors
/// When they can't be removed.
pub fn forget_request(store: &Store<'_>, credential: &CredentialName) -> Result<(), StoreError> {
    let dir = open_dir(store)?;
    for kind in ["csr", "key"] {
        dir.remove(&file_name(credential, kind))?;
    }
    Ok(dir.sync()?)
}

fn open_dir(store: &Store<'_>) -> Result<Dir, FileError> {
    let dir = store.dir().create_dir(OsStr::new(DIR))?;
    dir.make_private()?;
    Ok(dir)
}

/// The name of a file for a credential. A `/` becomes a `+`, which no credential has in its name,
/// so that no two credentials share a file.
fn file_name(credential: &CredentialName, kind: &str) -> OsString {
    format!("{}.{kind}", credential.as_str().replace('/', "+")).into()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_name_has_request_files_of_its_own() {
        let disk = tempfile::tempdir().unwrap();
        let (root, state) = (Root::open(disk.path()).unwrap(), AbsolutePath::constant("/state"));
        let (store, _) = Store::open(&root, &state, Duration::ZERO, &[]).unwrap();
        let names = ["app/b", "app-b", "app_b", "app.b", "a/pp/b", "a/pp-b", "a-pp/b"]
            .map(CredentialName::constant);
        let key = |name: &CredentialName| Secret::new(name.as_str().as_bytes().to_vec());
        for name in &names {
            keep_request(&store, name, &key(name), "request").unwrap();
        }
        for name in &names {
            assert_eq!(requested_key(&store, name).unwrap(), Some(key(name)), "{name}");
        }
        forget_request(&store, &names[0]).unwrap();
        let pending = pending_requests(&root, &state, &names).unwrap();
        let pending: Vec<_> = pending.into_iter().map(|one| one.credential).collect();
        assert_eq!(pending, names[1..]);
    }

    #[test]
    fn request_round_trips_and_writable_key_is_refused() {
        let disk = tempfile::tempdir().unwrap();
        let (root, state) = (Root::open(disk.path()).unwrap(), AbsolutePath::constant("/state"));
        let (store, _) = Store::open(&root, &state, Duration::ZERO, &[]).unwrap();
        let name = CredentialName::constant("etcd/server");
        let key = Secret::new(b"key".to_vec());
        assert_eq!(requested_key(&store, &name).unwrap(), None);
        let file = keep_request(&store, &name, &key, "request").unwrap();
        assert_eq!(file, std::path::Path::new("/state/requests/etcd+server.csr"));
        let pending = pending_requests(&root, &state, std::slice::from_ref(&name)).unwrap();
        assert_eq!(pending.into_iter().map(|one| one.file).collect::<Vec<_>>(), [file]);
        assert_eq!(requested_key(&store, &name).unwrap(), Some(key));
        let path = disk.path().join("state/requests/etcd+server.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        let error = requested_key(&store, &name).unwrap_err().to_string();
        assert!(error.starts_with("/state/requests/etcd+server.key: has mode 0620"), "{error}");
        forget_request(&store, &name).unwrap();
        assert_eq!(pending_requests(&root, &state, &[name]).unwrap(), []);
    }
}

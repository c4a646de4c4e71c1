//! The system's trust store: the CAs by which programs verify servers anywhere.

use std::ffi::OsStr;
use std::path::Path;

use crate::formats::pem::{self, PemError};
use crate::formats::x509::Certificate;
use crate::model::AbsolutePath;
use crate::sys::{Dir, FileError, FileProblem, Root};

/// The bundles of the distributions: those of Go, of which it reads the first one that exists, and
/// `cert.pem` of OpenSSL where that is another file.
const BUNDLES: [&str; 8] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/usr/lib/ssl/cert.pem",
];

/// The directories of certificates: Go reads all their files, and OpenSSL those that it looks for.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// The largest size of a bundle. Those of the distributions have less than a megabyte.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The file of the trust store that holds a certificate of the same CA; and where none does, what
/// can't be read, each with its reason.
pub(super) fn trusted_in(
    root: &Root,
    certificate: &Certificate,
) -> (Option<AbsolutePath>, Vec<String>) {
    let mut unread = Vec::new();
    let bundles = BUNDLES.into_iter().map(AbsolutePath::constant);
    let in_directories = DIRECTORIES.into_iter().flat_map(|path| files(root, path, &mut unread));
    let files: Vec<_> = in_directories.collect();
    for file in bundles.chain(files) {
        match holds(root, &file, certificate) {
            Ok(true) => return (Some(file), Vec::new()),
            Ok(false) => {}
            Err(reason) => unread.push(reason),
        }
    }
    (None, unread)
}

/// The files of a directory, without bundles and without symlinks to other files of it.
fn files(root: &Root, path: &str, unread: &mut Vec<String>) -> Vec<AbsolutePath> {
    let named = || -> Result<Vec<AbsolutePath>, FileError> {
        let dir = root.open_dir(Path::new(path))?;
        let names = dir.names()?;
        let names = names.iter().filter(|name| !leads_into_the_same(&dir, name));
        let paths = names.filter_map(|name| AbsolutePath::new(Path::new(path).join(name)).ok());
        Ok(paths.filter(|file| !BUNDLES.iter().any(|one| file.as_path() == *one)).collect())
    };
    named().unwrap_or_else(|e| {
        unread.extend((!e.is_not_found()).then(|| e.to_string()));
        Vec::new()
    })
}

fn leads_into_the_same(dir: &Dir, name: &OsStr) -> bool {
    let target = dir.link_target(name).ok().flatten();
    target.is_some_and(|target| target.components().count() == 1)
}

/// Whether a file holds a certificate of the same CA. A file that is missing, or has another
/// content than PEM, holds none.
fn holds(root: &Root, file: &AbsolutePath, certificate: &Certificate) -> Result<bool, String> {
    let content = match root.read(file, MAX_FILE_BYTES) {
        Ok(content) => content.bytes,
        Err(e) => return if is_no_damage(&e, file) { Ok(false) } else { Err(e.to_string()) },
    };
    let blocks = match pem::blocks(content.expose()) {
        Ok(blocks) => blocks,
        Err(
            PemError::Empty
            | PemError::NoBlock
            | PemError::LooksLikeDer
            | PemError::LooksLikePkcs12
            | PemError::LooksLikePkcs7,
        ) => return Ok(false),
        Err(e) => return Err(format!("{file}: {e}")),
    };
    let mut damaged = None;
    for block in blocks.iter().filter(|block| block.label == "CERTIFICATE") {
        match Certificate::from_der(block.der.expose()) {
            Ok(trusted) if trusted.is_of_same_ca(certificate) => return Ok(true),
            Ok(_) => {}
            Err(e) => damaged = Some(format!("{file}: {e}")),
        }
    }
    damaged.map_or(Ok(false), Err)
}

/// Whether an error is usual: what is not there, and what else a directory holds.
fn is_no_damage(error: &FileError, file: &AbsolutePath) -> bool {
    let is_bundle = BUNDLES.iter().any(|one| file.as_path() == *one);
    match error.problem {
        FileProblem::NotFound | FileProblem::DanglingLink(_) => true,
        FileProblem::NotAFile(_) => !is_bundle,
        _ => false,
    }
}

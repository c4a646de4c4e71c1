//! The certificate of a CA is replaced by another one for the same key, in its own file and in the
//! kubeconfigs that trust it.

use crate::credentials::{ComposeError, Files, renewed_anchors, with_authority_renewed};
use crate::formats::x509::Certificate;
use crate::model::{AbsolutePath, Digest, Secret};
use crate::store::{Kind, NewFile};
use crate::sys::{FileError, Root};

use super::KubeconfigFile;

/// What is to be written, and what is not.
#[derive(Debug, Default)]
pub struct CaReplacement {
    /// The new contents, that of its own file first.
    pub files: Vec<NewFile>,
    /// The kubeconfigs that still trust the old certificate, each with the reason.
    pub left: Vec<String>,
}

/// Composes the new contents of the file of a CA, with these anchors, and of the kubeconfigs in
/// which a certificate of the same CA is trusted.
///
/// # Errors
/// When the file of the CA can't be read. A kubeconfig that can't be read or changed is left as it
/// is, and named.
pub fn replace_ca_certificate(
    root: &Root,
    file: &AbsolutePath,
    anchors: &[Certificate],
    new: &Certificate,
    kubeconfigs: &[KubeconfigFile],
) -> Result<CaReplacement, FileError> {
    let mut replacement = CaReplacement::default();
    let old = Files::read(root, file)?;
    let content = renewed_anchors(anchors, new);
    replacement.files.push(NewFile {
        path: file.clone(),
        content: Secret::from(content),
        old: old.map(|old| Digest::of(old.expose())),
        kind: Kind::Certificate,
    });
    for (_, path) in kubeconfigs {
        match kubeconfig(root, path, |old| with_authority_renewed(path, old, new)) {
            Ok(Some(_)) if replacement.files.iter().any(|one| one.path == *path) => {}
            Ok(found) => replacement.files.extend(found),
            Err(reason) => replacement.left.push(format!("{path}: {reason}")),
        }
    }
    Ok(replacement)
}

/// Composes a kubeconfig that is to trust other CA certificates; `None` where there is none, or
/// nothing of it changes.
///
/// # Errors
/// When it can't be read or changed, or others than root can write it: what they can write is not
/// replaced by root.
pub(super) fn kubeconfig(
    root: &Root,
    path: &AbsolutePath,
    compose: impl FnOnce(&Secret) -> Result<Option<Secret>, ComposeError>,
) -> Result<Option<NewFile>, String> {
    let Some(old) = Files::read(root, path).map_err(|e| e.to_string())? else { return Ok(None) };
    let Some(content) = compose(&old).map_err(|e| e.to_string())? else { return Ok(None) };
    if root.is_writable_by_others(path).unwrap_or(true) {
        return Err("it is writable by others than root".to_owned());
    }
    let old = Some(Digest::of(old.expose()));
    Ok(Some(NewFile { path: path.clone(), content, old, kind: Kind::Private }))
}

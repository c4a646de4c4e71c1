//! Composing: makes the new contents of a credential's files from a new certificate and key, and
//! reads certificate and key back from new contents for the check.

use super::bundle::{self, Further};
use super::{Form, SourceFile, Stored};
use crate::formats::kubeconfig::{self, Kubeconfig};
use crate::formats::x509::{Certificate, KeyError, PrivateKey, ReadError, certificates};
use crate::model::{AbsolutePath, Digest, Secret};
use crate::store::{Kind, NewFile};

/// The reason why the new files could not be composed, or do not hold the new credential.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The kubeconfig has a form that can't be changed with certainty.
    #[error("{path}: {source}")]
    Splice {
        /// The kubeconfig.
        path: AbsolutePath,
        /// The reason.
        source: kubeconfig::SpliceError,
    },
    /// A file, read back, holds no certificate.
    #[error("{path}: read back: {source}")]
    Certificate {
        /// The file.
        path: AbsolutePath,
        /// The reason.
        source: ReadError,
    },
    /// A file, read back, holds no key.
    #[error("{path}: read back: {source}")]
    Key {
        /// The file.
        path: AbsolutePath,
        /// The reason.
        source: KeyError,
    },
    /// A kubeconfig, read back, can't be parsed, or its current user has no embedded credential.
    #[error("{path}: read back: its current user does not have the new certificate")]
    NotInKubeconfig {
        /// The kubeconfig.
        path: AbsolutePath,
    },
}

/// The new contents of a credential's files, in the order of [`Form::sources`].
#[derive(Debug)]
pub struct Composed {
    /// The files.
    pub files: Vec<NewFile>,
}

impl Stored {
    /// Composes the new contents of its files, around this certificate and key. Everything else in
    /// the files stays: further certificates of a pair, and every other byte of a bundle or a
    /// kubeconfig.
    ///
    /// # Errors
    /// When a kubeconfig has a form that can't be changed with certainty.
    pub fn compose(
        &self,
        certificate: &Certificate,
        key: &Secret,
    ) -> Result<Composed, ComposeError> {
        let leaf = certificate.to_pem();
        let files = match &self.form {
            Form::Pair { certificate: file, key: key_file } => {
                let text = leaf + &further_certificates(file);
                vec![
                    new_file(file, text.into(), Kind::Certificate),
                    new_file(key_file, key.clone(), Kind::Private),
                ]
            }
            Form::Bundle(file) => {
                let old = file.content.as_ref().map(Secret::expose).unwrap_or_default();
                let content = bundle::replace(old, &leaf, Further::Kept, key);
                vec![new_file(file, content, Kind::Private)]
            }
            Form::Kubeconfig(file) => {
                let text = file.content.as_ref().map(Secret::expose).unwrap_or_default();
                let failed = |source| ComposeError::Splice { path: file.path.clone(), source };
                let text = kubeconfig::splice(text, leaf.as_bytes(), key).map_err(failed)?;
                vec![new_file(file, text, Kind::Private)]
            }
        };
        Ok(Composed { files })
    }

    /// Composes them with this chain in the place of the old one.
    ///
    /// # Errors
    /// As [`Self::compose`].
    pub fn compose_chain(
        &self,
        certificate: &Certificate,
        chain: &[Certificate],
        key: &Secret,
    ) -> Result<Composed, ComposeError> {
        let text: String =
            [certificate].into_iter().chain(chain).map(Certificate::to_pem).collect();
        let files = match &self.form {
            Form::Pair { certificate: file, key: key_file } => vec![
                new_file(file, text.into(), Kind::Certificate),
                new_file(key_file, key.clone(), Kind::Private),
            ],
            Form::Bundle(file) => {
                let old = file.content.as_ref().map(Secret::expose).unwrap_or_default();
                let content = bundle::replace(old, &text, Further::Replaced, key);
                vec![new_file(file, content, Kind::Private)]
            }
            Form::Kubeconfig(file) => {
                let old = file.content.as_ref().map(Secret::expose).unwrap_or_default();
                let failed = |source| ComposeError::Splice { path: file.path.clone(), source };
                let text = kubeconfig::splice(old, text.as_bytes(), key).map_err(failed)?;
                vec![new_file(file, text, Kind::Private)]
            }
        };
        Ok(Composed { files })
    }

    /// Reads the certificates behind the first one out of new contents.
    #[must_use]
    pub fn chain_in(&self, contents: &[Secret]) -> Vec<Certificate> {
        let bytes = contents.first().map(Secret::expose).unwrap_or_default();
        let found = match &self.form {
            Form::Pair { .. } | Form::Bundle(_) => certificates(bytes).ok(),
            Form::Kubeconfig(_) => Kubeconfig::parse(bytes)
                .ok()
                .and_then(|config| embedded(config.user.client.certificate))
                .and_then(|certificate| certificates(certificate.expose()).ok()),
        };
        found.unwrap_or_default().into_iter().skip(1).collect()
    }

    /// Reads certificate and key out of new contents, in the order of [`Form::sources`].
    ///
    /// # Errors
    /// When the contents do not hold them.
    pub fn read_back(
        &self,
        contents: &[Secret],
    ) -> Result<(Certificate, PrivateKey), ComposeError> {
        let bytes = |at: usize| contents.get(at).map(Secret::expose).unwrap_or_default();
        match &self.form {
            Form::Pair { certificate, key } => {
                Ok((first(&certificate.path, bytes(0))?, private_key(&key.path, bytes(1))?))
            }
            Form::Bundle(file) => {
                Ok((first(&file.path, bytes(0))?, private_key(&file.path, bytes(0))?))
            }
            Form::Kubeconfig(file) => {
                let config = Kubeconfig::parse(bytes(0)).ok().map(|config| config.user.client);
                let embedded = config.and_then(|client| {
                    Some((embedded(client.certificate)?, embedded(client.key)?))
                });
                let (certificate, key) = embedded
                    .ok_or_else(|| ComposeError::NotInKubeconfig { path: file.path.clone() })?;
                Ok((
                    first(&file.path, certificate.expose())?,
                    private_key(&file.path, key.expose())?,
                ))
            }
        }
    }
}

pub(super) fn new_file(source: &SourceFile, content: Secret, kind: Kind) -> NewFile {
    let old = source.content.as_ref().map(|content| Digest::of(content.expose()));
    NewFile { path: source.path.clone(), content, old, kind }
}

pub(super) fn further_certificates(file: &SourceFile) -> String {
    let found = file
        .content
        .as_ref()
        .and_then(|content| certificates(content.expose()).ok())
        .unwrap_or_default();
    found.iter().skip(1).map(Certificate::to_pem).collect()
}

pub(super) fn first(path: &AbsolutePath, bytes: &[u8]) -> Result<Certificate, ComposeError> {
    let failed = |source| ComposeError::Certificate { path: path.clone(), source };
    let found = certificates(bytes).map_err(failed)?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| failed(ReadError::NoCertificate { found: String::new() }))
}

pub(super) fn private_key(path: &AbsolutePath, bytes: &[u8]) -> Result<PrivateKey, ComposeError> {
    PrivateKey::from_pem(bytes).map_err(|source| ComposeError::Key { path: path.clone(), source })
}

fn embedded(source: kubeconfig::PemSource) -> Option<Secret> {
    match source {
        kubeconfig::PemSource::Embedded(bytes) => Some(bytes),
        kubeconfig::PemSource::File(_) | kubeconfig::PemSource::Missing => None,
    }
}

//! Composing: makes the new contents of a credential's files from a new certificate and key, and
//! reads certificate and key back from new contents for the check.

use super::bundle::{self, Further};
use super::chain::Behind;
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
    #[error("{path}: read back: its user does not have the new certificate")]
    NotInKubeconfig {
        /// The kubeconfig.
        path: AbsolutePath,
    },
}

/// The new contents of a credential's files.
#[derive(Debug)]
pub struct Composed {
    /// The files, in the order of [`Form::sources`].
    pub files: Vec<NewFile>,
    /// What is left out of them, as a note for the operator.
    pub dropped: Option<String>,
}

impl Stored {
    /// Composes the new contents of its files, around this certificate and key. Everything else in
    /// the files stays: the certificates behind the old one, unless they led from it to a root and
    /// don't lead from the new one, and every other byte of a bundle or a kubeconfig.
    ///
    /// # Errors
    /// When a kubeconfig has a form that can't be changed with certainty.
    pub fn compose(
        &self,
        certificate: &Certificate,
        key: &Secret,
    ) -> Result<Composed, ComposeError> {
        let Behind { kept, dropped } = Behind::of(certificate, &self.certificate, &self.further);
        let further = match &self.form {
            Form::Bundle(SourceFile { content: Some(_), .. }) => Further::Only(&kept),
            _ => Further::Replaced,
        };
        let files = self.compose_files(certificate, &kept, further, key)?;
        let names = dropped.iter().map(|one| one.subject.to_string()).collect::<Vec<_>>();
        let dropped = (!names.is_empty()).then(|| {
            format!(
                "{} behind the old certificate is left out, because it is not in the chain of the \
                 new one, which {} issued",
                names.join(", "),
                certificate.issuer
            )
        });
        Ok(Composed { files, dropped })
    }

    /// Composes the new contents of its files with the certificates of another state of it.
    ///
    /// # Errors
    /// As [`Self::compose`].
    pub fn compose_like(&self, other: &Self, key: &Secret) -> Result<Vec<NewFile>, ComposeError> {
        self.compose_files(&other.certificate, &other.further, Further::Replaced, key)
    }

    fn compose_files(
        &self,
        certificate: &Certificate,
        behind: &[Certificate],
        further: Further<'_>,
        key: &Secret,
    ) -> Result<Vec<NewFile>, ComposeError> {
        let leaf = certificate.to_pem();
        let chain: String =
            [leaf.clone()].into_iter().chain(behind.iter().map(Certificate::to_pem)).collect();
        let content =
            |file: &'_ SourceFile| file.content.clone().unwrap_or_else(|| Secret::new(Vec::new()));
        Ok(match &self.form {
            Form::Pair { certificate: file, key: key_file } => vec![
                new_file(file, chain.into(), Kind::Certificate),
                new_file(key_file, key.clone(), Kind::Private),
            ],
            Form::Bundle(file) => {
                let new = if further == Further::Replaced { chain } else { leaf };
                let text = bundle::replace(content(file).expose(), &new, further, key);
                vec![new_file(file, text, Kind::Private)]
            }
            Form::Kubeconfig(file) => {
                let failed = |source| ComposeError::Splice { path: file.path.clone(), source };
                let text = kubeconfig::splice(content(file).expose(), chain.as_bytes(), key)
                    .map_err(failed)?;
                vec![new_file(file, text, Kind::Private)]
            }
            Form::User(file, user) => {
                let failed = |source| ComposeError::Splice { path: file.path.clone(), source };
                let text =
                    kubeconfig::splice_user(content(file).expose(), user, chain.as_bytes(), key)
                        .map_err(failed)?;
                vec![new_file(file, text, Kind::Private)]
            }
        })
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
        let files = self.compose_files(certificate, chain, Further::Replaced, key)?;
        Ok(Composed { files, dropped: None })
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
            Form::Kubeconfig(file) | Form::User(file, _) => {
                let (certificate, key) = self
                    .embedded_in(bytes(0))
                    .ok_or_else(|| ComposeError::NotInKubeconfig { path: file.path.clone() })?;
                Ok((
                    first(&file.path, certificate.expose())?,
                    private_key(&file.path, key.expose())?,
                ))
            }
        }
    }

    /// Reads the certificate and those behind it out of contents, in the order of
    /// [`Form::sources`]; none where there are none.
    #[must_use]
    pub fn chain_in(&self, contents: &[Secret]) -> Vec<Certificate> {
        let bytes = contents.first().map(Secret::expose).unwrap_or_default();
        let found = match &self.form {
            Form::Pair { .. } | Form::Bundle(_) => certificates(bytes),
            Form::Kubeconfig(_) | Form::User(..) => match self.embedded_in(bytes) {
                Some((certificate, _)) => certificates(certificate.expose()),
                None => return Vec::new(),
            },
        };
        found.unwrap_or_default()
    }

    /// The certificate and the key that a kubeconfig embeds for the user.
    fn embedded_in(&self, kubeconfig: &[u8]) -> Option<(Secret, Secret)> {
        let user = match &self.form {
            Form::User(_, name) => kubeconfig::named_user(kubeconfig, name).ok()??,
            _ => Kubeconfig::parse(kubeconfig).ok()?.user,
        };
        Some((embedded(user.client.certificate)?, embedded(user.client.key)?))
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

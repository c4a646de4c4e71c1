//! Copies: finds which certificate of its original a copy holds, and composes its new contents.
//!
//! A copy may be owned or writable by others. So no text from this module quotes its contents. A
//! file counts as a copy only with the private key: a certificate is public, and a file that holds
//! nothing else must not get the next key.

use super::bundle::{self, Further, several_keys};
use super::compose::{first, further_certificates, new_file, private_key};
use super::load::{leaf_of, source};
use super::{ComposeError, Files, Form, LoadedAuthority, SourceFile, Stored};
use crate::formats::kubeconfig::{self, SpliceError, User};
use crate::formats::x509::{Certificate, ExtendedKeyUsage, PrivateKey};
use crate::model::{AbsolutePath, CopyOf, Credential, Digest, Location, Secret, Signer};
use crate::store::{Kind, NewFile};
use crate::sys::FileError;

/// The certificate and key that are copied.
#[derive(Debug)]
pub struct Original {
    /// The certificate.
    pub certificate: Certificate,
    /// The certificate and those after it in the file, in PEM.
    chain: String,
    further: bool,
    /// The key, in PEM.
    key: Secret,
}

impl Original {
    /// Takes the certificates and the key out of a complete credential.
    ///
    /// # Errors
    /// When a file does not hold them.
    pub fn of(stored: &Stored) -> Result<Self, ComposeError> {
        let contents: Vec<Secret> =
            stored.form.sources().filter_map(|source| source.content.clone()).collect();
        let (certificate, key) = stored.read_back(&contents)?;
        let path = stored.form.sources().next().map(|source| &source.path);
        let chain = stored.chain_in(&contents);
        let failed = |source| ComposeError::Key {
            path: path.cloned().unwrap_or_else(|| AbsolutePath::constant("/original")),
            source,
        };
        let further = chain.len() > 1;
        let key = key.to_pem().map_err(failed)?;
        Ok(Self {
            chain: chain.iter().map(Certificate::to_pem).collect(),
            further,
            key,
            certificate,
        })
    }

    /// The new chain of a copy: the original's chain, or where the original has only its
    /// certificate, that and the further certificates of the old file.
    fn chain_over(&self, old: &SourceFile) -> String {
        if self.further {
            self.chain.clone()
        } else {
            self.chain.clone() + &further_certificates(old)
        }
    }
}

/// The state of a copy's files. Texts name the file and do not quote its contents.
#[derive(Debug)]
pub enum LoadedCopy {
    /// The file does not exist; or it was found by a pattern and is not a copy.
    Absent,
    /// A file can't be read, or is in a form that is never changed.
    Unreadable(String),
    /// It holds something that its original is not known to have held, or not all of it.
    Changed(String),
    /// It holds what its original holds or held, or the like.
    Held(Box<KnownContent>),
}

/// A copy that holds what its original holds or held, or the like.
#[derive(Debug)]
pub struct KnownContent {
    /// The files and the certificate. Of several users of a kubeconfig, it is the certificate of
    /// one that does not have the newest.
    pub stored: Stored,
    /// Whether the original is not known to have held the certificate, which is one for the same
    /// user all the same: see [`Lineage::is_equivalent`].
    pub equivalent: bool,
    /// The users of the kubeconfig that are copies.
    users: Vec<String>,
}

/// The facts about an original that a copy is recognised by.
pub struct Lineage<'l> {
    /// The fingerprint of the original's certificate, where it is known.
    pub current: Option<Digest>,
    /// The authority of the original.
    pub authority: Option<&'l LoadedAuthority>,
    /// The certificate of the original, where it has one.
    pub like: Option<&'l Certificate>,
    /// Whether the original holds or once held the certificate with this fingerprint.
    pub held: &'l dyn Fn(&Digest) -> bool,
}

/// Reads a copy.
#[must_use]
pub fn load_copy(
    files: &dyn Files,
    credential: &Credential,
    of: &CopyOf,
    lineage: &Lineage<'_>,
) -> LoadedCopy {
    let loaded = match &credential.location {
        Location::Pair { certificate, key } => pair(files, certificate, key, lineage),
        Location::Bundle(file) => bundle(files, file, lineage),
        Location::Kubeconfig(file) | Location::KubeconfigUser { file, .. } => {
            in_kubeconfig(files, file, of, lineage)
        }
    };
    loaded.unwrap_or_else(|e| LoadedCopy::Unreadable(e.to_string()))
}

fn pair(
    files: &dyn Files,
    certificate: &AbsolutePath,
    key: &AbsolutePath,
    lineage: &Lineage<'_>,
) -> Result<LoadedCopy, FileError> {
    if certificate == key {
        return bundle(files, certificate, lineage);
    }
    let (certificate, key) = (source(files, certificate)?, source(files, key)?);
    let found = match (&certificate.content, &key.content) {
        (None, None) => return Ok(LoadedCopy::Absent),
        (Some(found), Some(private)) => identified(found, private, lineage),
        _ => {
            return Ok(LoadedCopy::Changed(format!(
                "{}: one of the two files of this copy is missing",
                certificate.path
            )));
        }
    };
    let path = certificate.path.clone();
    Ok(held(found, Form::Pair { certificate, key }, &path, lineage))
}

fn bundle(
    files: &dyn Files,
    path: &AbsolutePath,
    lineage: &Lineage<'_>,
) -> Result<LoadedCopy, FileError> {
    let file = source(files, path)?;
    let Some(content) = &file.content else { return Ok(LoadedCopy::Absent) };
    if let Some(text) = several_keys(path, content) {
        return Ok(LoadedCopy::Unreadable(text));
    }
    let found = identified(content, content, lineage);
    Ok(held(found, Form::Bundle(file), path, lineage))
}

fn held(
    found: Result<Certificate, NotHeld>,
    form: Form,
    path: &AbsolutePath,
    lineage: &Lineage<'_>,
) -> LoadedCopy {
    match found {
        Ok(certificate) => {
            let equivalent = !lineage.knows(&certificate);
            let stored =
                Stored { form, certificate, further: Vec::new(), user: None, notes: Vec::new() };
            LoadedCopy::Held(Box::new(KnownContent { stored, equivalent, users: Vec::new() }))
        }
        Err(why) => LoadedCopy::Changed(why.text(path)),
    }
}

/// The reason why a file or user is not a copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NotHeld {
    /// It has no certificate of its original.
    Certificate,
    /// It has a certificate of its original, and not the key.
    Key,
}

impl NotHeld {
    fn text(self, path: &AbsolutePath) -> String {
        match self {
            Self::Certificate => {
                format!(
                    "{path}: holds no certificate that its original is known to have held, nor \
                     another one of the same user, CA and usages"
                )
            }
            Self::Key => format!(
                "{path}: holds a certificate of its original's without the private key for it"
            ),
        }
    }
}

fn identified(
    certificate: &Secret,
    key: &Secret,
    lineage: &Lineage<'_>,
) -> Result<Certificate, NotHeld> {
    let leaf = leaf_of(certificate)
        .filter(|leaf| lineage.knows(leaf) || lineage.is_equivalent(leaf))
        .ok_or(NotHeld::Certificate)?;
    let fits = PrivateKey::from_pem(key.expose()).is_ok_and(|key| key.fits(&leaf));
    if fits { Ok(leaf) } else { Err(NotHeld::Key) }
}

impl Lineage<'_> {
    fn knows(&self, leaf: &Certificate) -> bool {
        self.current == Some(leaf.fingerprint) || (self.held)(&leaf.fingerprint)
    }

    /// Whether a certificate that the original is not known to have held is one for the same client
    /// all the same, such as that of the admin.conf of another control-plane node: of the same CA,
    /// user, names and usages. Who has its key has all rights of the original's user already.
    fn is_equivalent(&self, leaf: &Certificate) -> bool {
        let is_same = |like: &Certificate| {
            let is_client = |usage: &ExtendedKeyUsage| usage.client_auth && !usage.server_auth;
            leaf.extended_key_usage.as_ref().is_some_and(is_client)
                && leaf.extended_key_usage == like.extended_key_usage
                && leaf.key_usage == like.key_usage
                && leaf.dns_names == like.dns_names
                && leaf.ip_addresses == like.ip_addresses
                && leaf.other_names == like.other_names
        };
        self.could_have_held(leaf) && self.like.is_some_and(is_same)
    }

    /// Whether an unknown certificate can be an earlier one of the original: it is signed by the
    /// same authority for the same subject.
    fn could_have_held(&self, leaf: &Certificate) -> bool {
        let signed =
            self.authority.is_some_and(|authority| authority.signer_of(leaf) == Signer::Authority);
        signed && self.like.is_none_or(|like| like.subject == leaf.subject)
    }
}

fn in_kubeconfig(
    files: &dyn Files,
    path: &AbsolutePath,
    of: &CopyOf,
    lineage: &Lineage<'_>,
) -> Result<LoadedCopy, FileError> {
    let file = source(files, path)?;
    let Some(text) = file.content.clone() else { return Ok(LoadedCopy::Absent) };
    let all = match kubeconfig::users(text.expose()) {
        Ok(all) => all,
        Err(e) => {
            let line = e.line().map(|line| format!(", line {line}")).unwrap_or_default();
            return Ok(LoadedCopy::Unreadable(format!(
                "{path}{line}: is no kubeconfig that can be read"
            )));
        }
    };
    let (mut copies, mut worst) = (Vec::new(), None);
    for user in &all {
        match of_user(user, lineage) {
            Some(Ok(certificate)) => copies.push((user.name.clone(), certificate)),
            // A certificate without its key says more than one that is not known.
            Some(Err(why)) if worst != Some(NotHeld::Key) => worst = Some(why),
            Some(Err(_)) => {}
            None => {}
        }
    }
    if copies.is_empty() {
        return Ok(no_copy(path, &all, of, worst));
    }
    let obstacles =
        copies.iter().find_map(|(user, _)| kubeconfig::obstacle_for(text.expose(), user));
    if let Some(e) = obstacles {
        return Ok(LoadedCopy::Unreadable(format!("{path}: {}", without_names(&e))));
    }
    let (users, found): (Vec<_>, Vec<_>) = copies.into_iter().unzip();
    let old = found
        .iter()
        .find(|leaf| Some(leaf.fingerprint) != lineage.current)
        .or(found.first())
        .cloned();
    let Some(certificate) = old else { return Ok(LoadedCopy::Absent) };
    let equivalent = found.iter().any(|leaf| !lineage.knows(leaf));
    let stored = Stored {
        form: Form::Kubeconfig(file),
        certificate,
        further: Vec::new(),
        user: None,
        notes: Vec::new(),
    };
    Ok(LoadedCopy::Held(Box::new(KnownContent { stored, equivalent, users })))
}

/// The certificate of the original that a user has; `None` for a user that is not a copy.
fn of_user(user: &User, lineage: &Lineage<'_>) -> Option<Result<Certificate, NotHeld>> {
    let kubeconfig::PemSource::Embedded(certificate) = &user.client.certificate else {
        return None;
    };
    let none = Secret::new(Vec::new());
    let key = if let kubeconfig::PemSource::Embedded(key) = &user.client.key { key } else { &none };
    match identified(certificate, key, lineage) {
        Err(NotHeld::Certificate) => leaf_of(certificate)
            .filter(|leaf| lineage.could_have_held(leaf))
            .map(|_| Err(NotHeld::Certificate)),
        found => Some(found),
    }
}

fn no_copy(path: &AbsolutePath, all: &[User], of: &CopyOf, worst: Option<NotHeld>) -> LoadedCopy {
    let refers =
        all.iter().any(|user| matches!(user.client.certificate, kubeconfig::PemSource::File(_)));
    match worst {
        Some(why) => LoadedCopy::Changed(why.text(path)),
        None if of.found => LoadedCopy::Absent,
        None if refers => LoadedCopy::Changed(format!(
            "{path}: embeds no certificate of its original's, and refers to files, which are not \
             followed from here: name those in the configuration, as certificate and key"
        )),
        None => LoadedCopy::Changed(NotHeld::Certificate.text(path)),
    }
}

fn without_names(error: &SpliceError) -> String {
    match error {
        SpliceError::Refused { .. } | SpliceError::Ambiguous { .. } | SpliceError::NotTheSame => {
            error.to_string()
        }
        SpliceError::Unreadable(_) | SpliceError::NotEmbedded { .. } => {
            "is no kubeconfig that can be changed".to_owned()
        }
    }
}

impl KnownContent {
    /// Composes the new contents of its files: the original's certificates and key, and everything
    /// else that the files hold now.
    ///
    /// # Errors
    /// When a kubeconfig has a form that can't be changed with certainty.
    pub fn follow(&self, original: &Original) -> Result<Vec<NewFile>, ComposeError> {
        Ok(match &self.stored.form {
            Form::Pair { certificate: file, key } => {
                let chain = original.chain_over(file).into();
                vec![
                    new_file(file, chain, Kind::Certificate),
                    new_file(key, original.key.clone(), Kind::Private),
                ]
            }
            Form::Bundle(file) => {
                vec![new_file(file, compose_bundle(file, original), Kind::Private)]
            }
            Form::Kubeconfig(file) | Form::User(file, _) => {
                let mut text = file.content.clone().unwrap_or_else(|| Secret::new(Vec::new()));
                for user in &self.users {
                    let failed = |_| ComposeError::NotInKubeconfig { path: file.path.clone() };
                    let spliced = kubeconfig::splice_user(
                        text.expose(),
                        user,
                        original.chain.as_bytes(),
                        &original.key,
                    );
                    text = spliced.map_err(failed)?;
                }
                vec![new_file(file, text, Kind::Private)]
            }
        })
    }

    /// Whether new contents, in the order of its files, hold the certificate and key of the
    /// original.
    #[must_use]
    pub fn follows(&self, contents: &[Secret], original: &Original) -> bool {
        let bytes = |at: usize| contents.get(at).map(Secret::expose).unwrap_or_default();
        let is_it = |path: &AbsolutePath, certificate: &[u8], key: &[u8]| match (
            first(path, certificate),
            private_key(path, key),
        ) {
            (Ok(found), Ok(key)) => {
                found.fingerprint == original.certificate.fingerprint && key.fits(&found)
            }
            _ => false,
        };
        match &self.stored.form {
            Form::Pair { certificate, .. } => is_it(&certificate.path, bytes(0), bytes(1)),
            Form::Bundle(file) => is_it(&file.path, bytes(0), bytes(0)),
            Form::Kubeconfig(file) | Form::User(file, _) => {
                let all = kubeconfig::users(bytes(0)).unwrap_or_default();
                self.users.iter().all(|name| {
                    let user = all
                        .iter()
                        .find(|user| user.name == *name)
                        .map(|user| (&user.client.certificate, &user.client.key));
                    let Some((
                        kubeconfig::PemSource::Embedded(certificate),
                        kubeconfig::PemSource::Embedded(key),
                    )) = user
                    else {
                        return false;
                    };
                    is_it(&file.path, certificate.expose(), key.expose())
                })
            }
        }
    }
}

fn compose_bundle(file: &SourceFile, original: &Original) -> Secret {
    let old = file.content.as_ref().map(Secret::expose).unwrap_or_default();
    let further = if original.further { Further::Replaced } else { Further::Kept };
    bundle::replace(old, &original.chain, further, &original.key)
}

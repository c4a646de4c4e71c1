//! Reading: loads the certificate of a catalog entry, and checks whether its key fits.

use super::Files;
use super::bundle::several_keys;
use crate::formats::kubeconfig::{self, Examined, KubeconfigError, SpliceError, User};
use crate::formats::x509::{Certificate, KeyError, certificates, key_fits};
use crate::model::{AbsolutePath, Credential, Location, Secret};
use crate::sys::FileError;

/// The state of a credential's files. Texts name the file and the reason.
#[derive(Debug)]
pub enum Loaded {
    /// None of its files exists.
    Absent,
    /// A file can't be read, or is in a form that is never changed.
    Unreadable(String),
    /// A kubeconfig whose current user authenticates without a certificate.
    NoCertificate(String),
    /// The certificate's file was read, and holds no certificate.
    Damaged(String),
    /// There is a key, or a kubeconfig that refers to files, and no certificate.
    CertificateMissing(String),
    /// There is a certificate, and no key.
    KeyMissing(Box<Stored>, String),
    /// There is a certificate, and the key does not fit or can't be used.
    Mismatched(Box<Stored>, String),
    /// Certificate and key fit.
    Whole(Box<Stored>),
}

impl Loaded {
    /// The credential, where it has at least a certificate.
    #[must_use]
    pub fn stored(self) -> Option<Stored> {
        match self {
            Self::KeyMissing(stored, _) | Self::Mismatched(stored, _) | Self::Whole(stored) => {
                Some(*stored)
            }
            Self::Absent
            | Self::Unreadable(_)
            | Self::NoCertificate(_)
            | Self::Damaged(_)
            | Self::CertificateMissing(_) => None,
        }
    }
}

/// A credential that has at least a certificate.
#[derive(Debug)]
pub struct Stored {
    /// The form in which it is stored.
    pub form: Form,
    /// The certificate.
    pub certificate: Certificate,
    /// The certificates behind it in the same place.
    pub further: Vec<Certificate>,
    /// The user of the kubeconfig that holds it, where it is in a kubeconfig.
    pub user: Option<String>,
    /// Notes for the operator about the files.
    pub notes: Vec<String>,
}

/// The form in which a credential is stored.
#[derive(Debug)]
pub enum Form {
    /// In two files.
    Pair {
        /// The certificate's.
        certificate: SourceFile,
        /// The key's.
        key: SourceFile,
    },
    /// Both in one PEM file.
    Bundle(SourceFile),
    /// Both embedded in a kubeconfig, for its current user.
    Kubeconfig(SourceFile),
    /// Both embedded in a kubeconfig, for the user with this name.
    User(SourceFile, String),
}

/// A file with its content.
#[derive(Debug)]
pub struct SourceFile {
    /// The file.
    pub path: AbsolutePath,
    /// Its content; `None` when it does not exist.
    pub content: Option<Secret>,
}

impl Form {
    /// Reads the files of a location, whatever they hold.
    ///
    /// # Errors
    /// When one of them can't be read.
    pub fn read(files: &dyn Files, location: &Location) -> Result<Self, FileError> {
        let source = |path| source(files, path);
        Ok(match location {
            Location::Pair { certificate, key } => {
                Self::Pair { certificate: source(certificate)?, key: source(key)? }
            }
            Location::Bundle(file) => Self::Bundle(source(file)?),
            Location::Kubeconfig(file) => Self::Kubeconfig(source(file)?),
            Location::KubeconfigUser { file, user } => Self::User(source(file)?, user.clone()),
        })
    }

    /// Its files.
    pub fn sources(&self) -> impl Iterator<Item = &SourceFile> {
        let (first, second) = match self {
            Self::Pair { certificate, key } => (certificate, Some(key)),
            Self::Bundle(file) | Self::Kubeconfig(file) | Self::User(file, _) => (file, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// Reads a credential.
#[must_use]
pub fn load(files: &dyn Files, credential: &Credential) -> Loaded {
    let loaded = match &credential.location {
        Location::Pair { certificate, key } => pair(files, certificate, key),
        Location::Bundle(file) => bundle(files, file),
        Location::Kubeconfig(file) => kubeconfig(files, file, None),
        Location::KubeconfigUser { file, user } => kubeconfig(files, file, Some(user)),
    };
    loaded.unwrap_or_else(|e| Loaded::Unreadable(e.to_string()))
}

/// Returns the credential with the location of the files that hold it: the pair that its kubeconfig
/// refers to, where it does. A backup has only these files, and not the kubeconfig, because a
/// renewal does not change it then.
#[must_use]
pub fn located(files: &dyn Files, credential: &Credential) -> Credential {
    let mut located = credential.clone();
    // A copy may be writable by others, so the files that it refers to are not trusted.
    if credential.copy_of().is_some() {
        return located;
    }
    if let Some(path) = credential.location.kubeconfig()
        && let Ok(Some(content)) = files.read(path)
        && let Ok(Some((user, _))) = user_of(files, &content, credential.location.user())
        && let (kubeconfig::PemSource::File(certificate), kubeconfig::PemSource::File(key)) =
            (user.client.certificate, user.client.key)
        && let (Ok(certificate), Ok(key)) =
            (referenced(files, path, &certificate), referenced(files, path, &key))
    {
        located.location = Location::Pair { certificate, key };
    }
    located
}

pub(super) fn source(files: &dyn Files, path: &AbsolutePath) -> Result<SourceFile, FileError> {
    Ok(SourceFile { path: path.clone(), content: files.read(path)? })
}

fn pair(
    files: &dyn Files,
    certificate: &AbsolutePath,
    key: &AbsolutePath,
) -> Result<Loaded, FileError> {
    if certificate == key {
        return bundle(files, certificate);
    }
    let certificate = source(files, certificate)?;
    let key = source(files, key)?;
    let (Some(content), key_content) = (&certificate.content, &key.content) else {
        let missing =
            format!("{}: does not exist, and its key {} does", certificate.path, key.path);
        return Ok(if key.content.is_some() {
            Loaded::CertificateMissing(missing)
        } else {
            Loaded::Absent
        });
    };
    let (leaf, further) = match leaf(content) {
        Ok(found) => found,
        Err(reason) => return Ok(Loaded::Damaged(format!("{}: {reason}", certificate.path))),
    };
    let key_missing = key_content.is_none();
    let trouble = match key_content {
        None => Some(format!("{}: does not exist, and its certificate does", key.path)),
        Some(content) => {
            key_trouble(content, &leaf).map(|reason| format!("{}: {reason}", key.path))
        }
    };
    let stored = Box::new(Stored {
        form: Form::Pair { certificate, key },
        certificate: leaf,
        notes: further_note(&further),
        further,
        user: None,
    });
    Ok(match trouble {
        None => Loaded::Whole(stored),
        Some(text) if key_missing => Loaded::KeyMissing(stored, text),
        Some(text) => Loaded::Mismatched(stored, text),
    })
}

fn bundle(files: &dyn Files, path: &AbsolutePath) -> Result<Loaded, FileError> {
    let file = source(files, path)?;
    let Some(content) = &file.content else { return Ok(Loaded::Absent) };
    let (leaf, further) = match leaf(content) {
        Ok(found) => found,
        Err(reason) => return Ok(Loaded::Damaged(format!("{path}: {reason}"))),
    };
    if let Some(text) = several_keys(path, content) {
        return Ok(Loaded::Unreadable(text));
    }
    let trouble = key_fits(content.expose(), &leaf);
    let stored = Box::new(Stored {
        form: Form::Bundle(file),
        certificate: leaf,
        notes: further_note(&further),
        further,
        user: None,
    });
    Ok(match trouble {
        Ok(true) => Loaded::Whole(stored),
        Ok(false) => Loaded::Mismatched(stored, format!("{path}: {DOES_NOT_FIT}")),
        Err(e @ KeyError::NoKey) => Loaded::KeyMissing(stored, format!("{path}: {e}")),
        Err(e) => Loaded::Mismatched(stored, format!("{path}: {e}")),
    })
}

/// A user of a kubeconfig, and why a renewed certificate could not be written there.
type FoundUser = (User, Option<SpliceError>);

/// Returns the user with this name, or else the current one.
fn user_of(
    files: &dyn Files,
    kubeconfig: &Secret,
    named: Option<&str>,
) -> Result<Option<FoundUser>, KubeconfigError> {
    let Some(name) = named else {
        let examined = files.examine_kubeconfig(kubeconfig);
        let Examined { content, obstacle } = examined.as_ref().as_ref().map_err(Clone::clone)?;
        return Ok(Some((content.user.clone(), obstacle.clone())));
    };
    let text = kubeconfig.expose();
    let user = kubeconfig::named_user(text, name)?;
    Ok(user.map(|user| (user, kubeconfig::obstacle_for(text, name))))
}

fn kubeconfig(
    files: &dyn Files,
    path: &AbsolutePath,
    named: Option<&str>,
) -> Result<Loaded, FileError> {
    let file = source(files, path)?;
    let Some(content) = &file.content else { return Ok(Loaded::Absent) };
    let (User { name: user, client }, obstacle) = match user_of(files, content, named) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Loaded::Absent),
        Err(e) if e.is_about_form() => return Ok(Loaded::Unreadable(format!("{path}: {e}"))),
        Err(e) => return Ok(Loaded::Damaged(format!("{path}: {e}"))),
    };
    let form = match named {
        None => Form::Kubeconfig(file),
        Some(name) => Form::User(file, name.to_owned()),
    };
    use kubeconfig::PemSource as At;
    let mut loaded = match (&client.certificate, &client.key) {
        // A form that can't be written must be known before the day it is due.
        (At::Embedded(_), At::Embedded(_)) if let Some(obstacle) = obstacle => {
            Loaded::Unreadable(format!("{path}: {obstacle}"))
        }
        (At::Embedded(certificate), At::Embedded(key)) => embedded(certificate, key, form, path),
        (At::File(certificate), At::File(key)) => {
            match (referenced(files, path, certificate), referenced(files, path, key)) {
                (Ok(certificate), Ok(key)) => match pair(files, &certificate, &key)? {
                    Loaded::Absent => Loaded::CertificateMissing(format!(
                        "{path}: refers to {certificate}, which does not exist"
                    )),
                    loaded => loaded,
                },
                (Err(e), _) | (_, Err(e)) => Loaded::Unreadable(e),
            }
        }
        _ if let Some(e) = client.letter_case => Loaded::Unreadable(format!("{path}: {e}")),
        (At::Missing, At::Missing) if let (Some(instead), None) = (client.instead, named) => {
            Loaded::NoCertificate(format!(
                "its current user {user:?} authenticates by {instead} and has no certificate"
            ))
        }
        (At::Missing, At::Missing) => Loaded::Unreadable(format!(
            "{path}: its {} {user:?} has no client certificate",
            if named.is_some() { "user" } else { "current user" }
        )),
        _ => Loaded::Unreadable(format!(
            "{path}: one half of the client certificate of {user:?} is embedded and the other is a \
             file or missing; embed both, or refer to files for both"
        )),
    };
    if let Loaded::KeyMissing(stored, _) | Loaded::Mismatched(stored, _) | Loaded::Whole(stored) =
        &mut loaded
    {
        stored.user = Some(user);
    }
    Ok(loaded)
}

/// The file that a kubeconfig refers to, where it may.
///
/// # Errors
/// A text that names both files and the reason.
pub fn referenced(
    files: &dyn Files,
    kubeconfig: &AbsolutePath,
    name: &str,
) -> Result<AbsolutePath, String> {
    let file = kubeconfig.sibling(name).map_err(|e| format!("{kubeconfig}: {e}"))?;
    files.check_reference(kubeconfig, &file).map(|()| file)
}

fn embedded(certificate: &Secret, key: &Secret, form: Form, path: &AbsolutePath) -> Loaded {
    let (leaf, further) = match leaf(certificate) {
        Ok(found) => found,
        Err(reason) => {
            return Loaded::Damaged(format!("{path}: client-certificate-data: {reason}"));
        }
    };
    let trouble =
        key_trouble(key, &leaf).map(|reason| format!("{path}: client-key-data: {reason}"));
    let stored = Box::new(Stored {
        form,
        certificate: leaf,
        notes: further_note(&further),
        further,
        user: None,
    });
    match trouble {
        None => Loaded::Whole(stored),
        Some(text) => Loaded::Mismatched(stored, text),
    }
}

const DOES_NOT_FIT: &str = "the key does not fit the certificate";

/// The first certificate of a file, and those behind it.
fn leaf(content: &Secret) -> Result<(Certificate, Vec<Certificate>), String> {
    let mut found = certificates(content.expose()).map_err(|e| e.to_string())?.into_iter();
    let leaf = found.next().ok_or("the file holds no certificate")?;
    Ok((leaf, found.collect()))
}

fn further_note(further: &[Certificate]) -> Vec<String> {
    let note = match further.len() {
        0 => None,
        1 => Some("the file holds another certificate behind its own, which is kept".to_owned()),
        more => {
            Some(format!("the file holds {more} more certificates behind its own, which are kept"))
        }
    };
    note.into_iter().collect()
}

/// The first certificate of a file; `None` where the file holds none.
pub(super) fn leaf_of(content: &Secret) -> Option<Certificate> {
    certificates(content.expose()).ok()?.into_iter().next()
}

fn key_trouble(content: &Secret, leaf: &Certificate) -> Option<String> {
    match key_fits(content.expose(), leaf) {
        Ok(true) => None,
        Ok(false) => Some(DOES_NOT_FIT.to_owned()),
        Err(e) => Some(e.to_string()),
    }
}

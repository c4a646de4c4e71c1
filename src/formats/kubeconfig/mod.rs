//! Kubeconfigs: which client certificate the current user has, and writing a renewed one into the
//! file.
//!
//! `read` resolves current-context to a user and its certificate. `splice` replaces the two
//! embedded values in the text and touches no other byte, `point` replaces them by the name of a
//! file; `whole` writes a new one. The others use `tree`, a YAML document whose nodes know their
//! positions. Reading follows client-go, the loader of the components; `read` lists the exceptions.
//! No file is opened here: references are returned as they are written, and the caller knows what
//! they are relative to.

mod entries;
mod error;
mod go_yaml;
mod point;
mod read;
mod schema;
mod splice;
pub(super) mod tree;
mod trust;
mod whole;

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;

pub use entries::{ClientCertificate, Cluster, Kubeconfig, PemSource, User};
pub use error::{KubeconfigError, Obstacle, SpliceError};
pub use point::point;
pub(super) use splice::refuse_ambiguous_lines;
pub use splice::{obstacle_for, splice, splice_user};
pub use trust::{discovery_authority, splice_authority, splice_discovery_authority};
pub use whole::{whole, with_user};

use crate::model::Secret;

impl Kubeconfig {
    /// Reads a kubeconfig, YAML or JSON.
    ///
    /// # Errors
    /// [`KubeconfigError`] says what is wrong and, where it can, in which line.
    pub fn parse(text: &[u8]) -> Result<Self, KubeconfigError> {
        Self::of(&read::document(read::utf8(text)?)?)
    }
}

/// A kubeconfig, and whether it can be written.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its content.
    pub content: Kubeconfig,
    /// Why a renewed certificate of the current user could not be written there, which should be
    /// known before one is issued.
    pub obstacle: Option<SpliceError>,
}

/// Reads a kubeconfig, YAML or JSON, and whether it can be written.
///
/// # Errors
/// [`KubeconfigError`] says what is wrong and, where it can, in which line.
pub fn examine(text: &[u8]) -> Result<Examined, KubeconfigError> {
    let text = read::utf8(text)?;
    let root = read::document(text)?;
    Ok(Examined { content: Kubeconfig::of(&root)?, obstacle: splice::obstacle(text, &root) })
}

/// Returns the user with this name of a kubeconfig, whether or not it is current.
///
/// # Errors
/// [`KubeconfigError`] says what is wrong and, where it can, in which line.
pub fn named_user(text: &[u8], name: &str) -> Result<Option<User>, KubeconfigError> {
    Ok(users(text)?.into_iter().find(|user| user.name == name))
}

/// Returns all users of a kubeconfig, YAML or JSON, whether or not they are current.
///
/// # Errors
/// [`KubeconfigError`] says what is wrong and, where it can, in which line.
pub fn users(text: &[u8]) -> Result<Vec<User>, KubeconfigError> {
    read::all_users(&read::document(read::utf8(text)?)?)
}

/// Returns the token that the current user of a kubeconfig has in the file itself.
///
/// # Errors
/// [`KubeconfigError`] says what is wrong and, where it can, in which line.
pub fn current_token(text: &[u8]) -> Result<Option<Secret>, KubeconfigError> {
    let root = read::document(read::utf8(text)?)?;
    let token = read::current(&root)?.entry.text("token")?.filter(|token| !token.is_empty());
    Ok(token.map(|token| Secret::new(token.as_bytes().to_vec())))
}

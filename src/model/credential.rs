//! What the catalog says of a credential or an authority: its name, where it lives and who renews
//! it.

use std::fmt;

use serde::Deserialize;

use super::{AbsolutePath, AuthorityName, CredentialName};

/// A certificate and its private key, wherever they live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The name used in output, configuration and on the command line.
    pub name: CredentialName,
    /// kubeadm's own name for it where that differs (`etcd-server` for `etcd/server`): accepted on
    /// the command line, and used in the JSON that scripts written for kubeadm read.
    pub kubeadm_name: Option<CredentialName>,
    /// Where it lives.
    pub location: Location,
    /// Who signs it. `None` for one that is only watched.
    pub authority: Option<AuthorityName>,
    /// Who renews it.
    pub renewal: Renewal,
    /// Whether this node needs it, and how that is known. An absent credential is an error only
    /// where it is needed.
    pub need: Need,
}

/// Where a credential lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Two PEM files.
    Pair {
        /// The certificate, perhaps followed by others.
        certificate: AbsolutePath,
        /// The private key.
        key: AbsolutePath,
    },
    /// The user that a kubeconfig's current-context names: embedded, or as references to files.
    Kubeconfig(AbsolutePath),
    /// A user of a kubeconfig, whether or not current-context names it: embedded, or as references
    /// to files.
    KubeconfigUser {
        /// The kubeconfig.
        file: AbsolutePath,
        /// The name of the user's entry.
        user: String,
    },
    /// One PEM file with certificate and key.
    Bundle(AbsolutePath),
}

impl Location {
    /// The file that is named when one is enough: the certificate's.
    #[must_use]
    pub fn certificate_file(&self) -> &AbsolutePath {
        match self {
            Self::Pair { certificate, .. } => certificate,
            Self::Kubeconfig(file) | Self::KubeconfigUser { file, .. } | Self::Bundle(file) => file,
        }
    }

    /// Every file it lives in.
    pub fn files(&self) -> impl Iterator<Item = &AbsolutePath> {
        let (first, second) = match self {
            Self::Pair { certificate, key } => (certificate, Some(key)),
            Self::Kubeconfig(file) | Self::KubeconfigUser { file, .. } | Self::Bundle(file) => {
                (file, None)
            }
        };
        std::iter::once(first).chain(second)
    }

    /// The kubeconfig that it is in, whichever user it is of.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<&AbsolutePath> {
        match self {
            Self::Kubeconfig(file) | Self::KubeconfigUser { file, .. } => Some(file),
            Self::Pair { .. } | Self::Bundle(_) => None,
        }
    }
}

impl Location {
    /// The name of the user of a kubeconfig, where it is not the current one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::KubeconfigUser { user, .. } => Some(user),
            Self::Pair { .. } | Self::Kubeconfig(_) | Self::Bundle(_) => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate_file().fmt(f)?;
        match self {
            Self::KubeconfigUser { user, .. } => write!(f, " (user {user:?})"),
            Self::Pair { .. } | Self::Kubeconfig(_) | Self::Bundle(_) => Ok(()),
        }
    }
}

/// Where a new client certificate is tried before it takes the place of the old one, so that one
/// that is refused never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialAt {
    /// At the server that its own kubeconfig names, with this path.
    Kubeconfig(String),
    /// At a server on this node.
    Url {
        /// The URL.
        url: String,
        /// The user that is named: a certificate that authenticates others proves nothing without
        /// one.
        user: Option<String>,
    },
}

/// Who renews a credential.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Renewal {
    /// We do.
    Ours,
    /// kubelet does; it is watched here.
    Kubelet,
    /// Something else does: an own entry without an authority. It is watched here.
    Elsewhere,
    /// The operator does: kubelet serves it and never renews it. It is watched here.
    #[serde(skip)]
    Operator(KubeletPair),
    /// No renewer: it is a copy of another credential.
    #[serde(skip)]
    Copy(CopyOf),
}

/// A pair that kubelet serves and never renews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeletPair {
    /// kubelet makes it, signed by itself, when it starts and finds none.
    SelfSigned,
    /// kubelet's configuration names it: the setting and its place.
    Named(String),
}

/// What a copy follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOf {
    /// The credential that it is a copy of.
    pub original: CredentialName,
    /// Whether it was found by a path that means several files, of which not all need be copies.
    pub found: bool,
}

impl Credential {
    /// What it follows, where it is a copy.
    #[must_use]
    pub fn copy_of(&self) -> Option<&CopyOf> {
        match &self.renewal {
            Renewal::Copy(of) => Some(of),
            Renewal::Ours | Renewal::Kubelet | Renewal::Elsewhere | Renewal::Operator(_) => None,
        }
    }
}

/// Whether this node needs a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may be absent: that is never due and never an error.
    Optional,
    /// The configuration says that it has to be there.
    Configured,
    /// A static pod's manifest names it; the file name of the manifest.
    Manifest(String),
    /// A kubeconfig of this node points to it.
    Kubeconfig(AbsolutePath),
    /// kubelet's configuration names it: the setting and its place.
    Kubelet(String),
    /// kubelet does not start without it.
    KubeletStart,
}

/// A file that may hold the key of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherKey {
    /// Named for this authority, or by its name beside the certificate.
    Own(AbsolutePath),
    /// The key of another authority. It counts only for the very same certificate, and only where
    /// root alone can write both.
    OfTwin {
        /// The certificate of the other one.
        certificate: AbsolutePath,
        /// Its key.
        key: AbsolutePath,
    },
}

impl OtherKey {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &AbsolutePath {
        match self {
            Self::Own(key) | Self::OfTwin { key, .. } => key,
        }
    }
}

/// A CA certificate, with its key when this node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The name used in output, configuration and on the command line.
    pub name: AuthorityName,
    /// The certificate, perhaps a bundle of several.
    pub certificate: AbsolutePath,
    /// The private key. Without it the authority is an external one.
    pub key: AbsolutePath,
    /// Where its key may be besides. The first one that fits counts, where the usual one does not
    /// fit or is missing.
    pub other_keys: Vec<OtherKey>,
    /// The file by which a server of this node accepts clients with certificates of this
    /// authority, as a manifest names it.
    pub clients: Option<AbsolutePath>,
    /// What a client with a certificate of this authority may do, where that is not for each client
    /// of the cluster: `read and write all of etcd`.
    pub clients_may: Option<String>,
    /// Whether it is the root of the whole cluster: replacing it takes longest, so its expiry is
    /// alarmed earlier.
    pub root: bool,
    /// Whether nodes of this kind have no key of it.
    pub key_elsewhere: bool,
    /// Whether this node needs it, and how that is known.
    pub need: Need,
}

impl Authority {
    /// The files that hold its key, or would.
    pub fn keys(&self) -> impl Iterator<Item = &AbsolutePath> {
        std::iter::once(&self.key).chain(self.other_keys.iter().map(OtherKey::file))
    }
}

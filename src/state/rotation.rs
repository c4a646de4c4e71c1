//! What this node keeps of a rotation of the root CA: its intent in `rotation.json`, and the keys
//! of the CAs that are replaced below `rotation/`, as far as this node has them.
//!
//! The generation of the last intent outlives the rotation: an older one, of a cluster whose etcd
//! was restored, is never followed again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::formats::rotation_intent::SignedIntent;
use crate::model::{AbsolutePath, NodeProgress, ReplacedCa, RootCa, Timestamp};
use crate::sys::{FileError, Root};

const NAME: &str = "rotation.json";

const FILE: StateFile = StateFile::new(
    NAME,
    "this node does not know how far the rotation of the root CA is, until it reads that again",
);

/// What a node keeps of a rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptRotation {
    /// The generation of the last intent.
    pub generation: u64,
    /// The intent as it was signed; `None` where no rotation is under way.
    pub intent: Option<SignedIntent>,
    /// The objects of the API that were written at its present level.
    pub written: BTreeSet<String>,
    /// How far this node is; `None` before its first pass.
    pub standing: Option<KeptStanding>,
    /// When the last rotation ended in which the root was replaced; `None` where the key of the old
    /// one is not kept any more.
    pub replaced: Option<Timestamp>,
    /// SHA-256, in hex, of the manifest that kubecertd wrote last: no other program has changed it.
    pub manifest: Option<String>,
}

/// How far this node was at the end of its last pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptStanding {
    /// Its progress.
    pub progress: NodeProgress,
    /// What it waits for itself.
    pub waits: Option<String>,
    /// Why objects of the API are waited for, where it coordinates the nodes.
    #[serde(default)]
    pub objects: Vec<String>,
    /// What an operator has to see to.
    pub held: Option<String>,
}

impl KeptRotation {
    /// Reads the file. The text is the problem with the file, if there is one.
    #[must_use]
    pub fn read(root: &Root, state: &AbsolutePath) -> (Self, Option<String>) {
        FILE.read_or_default(root, state)
    }

    /// The same with the intent of another generation, which may be none.
    #[must_use]
    pub fn with_intent(&self, generation: u64, intent: Option<SignedIntent>) -> Self {
        let Self { manifest, replaced, .. } = self.clone();
        Self { generation, intent, manifest, replaced, ..Self::default() }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the file can't be written; it keeps its earlier content then.
    pub fn write(&self, root: &Root, state: &AbsolutePath) -> Result<(), FileError> {
        FILE.write(root, state, self)
    }
}

/// The file itself, which an order changes.
#[must_use]
pub fn rotation_file(state: &AbsolutePath) -> AbsolutePath {
    state.join(NAME).unwrap_or_else(|_| state.clone())
}

/// The file with the key of a CA before or after it is replaced.
#[must_use]
pub fn rotation_key(state: &AbsolutePath, ca: ReplacedCa, root: RootCa) -> AbsolutePath {
    state.join(ca.key_name(root)).unwrap_or_else(|_| state.clone())
}

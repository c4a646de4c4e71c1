//! How far this node is with a rotation, for the report of a pass.

use super::kept::Rotation;
use crate::model::{Agreement, RotationLevel, RotationStep};

/// How far this node is with a rotation, and with it the cluster where this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationReport {
    /// What the nodes have agreed on.
    pub agreement: Agreement,
    /// The level that they are to reach in the end.
    pub goal: RotationLevel,
    /// Whether this node has everything of the level.
    pub is_done: bool,
    /// The steps that this pass made.
    pub made: Vec<RotationStep>,
    /// What this node waits for; `None` where nothing holds it up.
    pub waits: Option<String>,
    /// Why nodes are waited for, where this node coordinates them and is done itself.
    pub nodes: Vec<String>,
    /// Why objects of the API are waited for.
    pub objects: Vec<String>,
    /// What an operator has to see to: the rotation goes no further without.
    pub held: Option<String>,
    /// Whether an operator has paused it.
    pub is_paused: bool,
    /// Whether the rotation is over.
    pub is_over: bool,
}

impl RotationReport {
    pub(super) fn new(rotation: &Rotation) -> Self {
        Self {
            agreement: rotation.intent.agreement,
            goal: rotation.intent.goal,
            is_done: false,
            made: Vec::new(),
            waits: None,
            nodes: Vec::new(),
            objects: Vec::new(),
            held: None,
            is_paused: rotation.intent.paused.is_some(),
            is_over: false,
        }
    }

    /// The first thing that is waited for: on this node, on another one, or in the API.
    #[must_use]
    pub fn first_wait(&self) -> Option<&str> {
        let others = self.nodes.iter().chain(&self.objects).map(String::as_str);
        self.waits.as_deref().into_iter().chain(others).next()
    }
}

//! The memory of services during a pass: loaded once, changed as a value, and written before each
//! restart and at the end of the pass.

use crate::model::ServiceMemory;
use crate::observe::Node;
use crate::state::{read_service_memory, write_service_memory};

/// What is remembered of the services, and what of it is on the disk.
pub(super) struct Memory<'n> {
    node: &'n Node,
    /// What is remembered now.
    pub value: ServiceMemory,
    /// What this pass wrote last.
    written: Option<ServiceMemory>,
}

impl<'n> Memory<'n> {
    /// Loads what earlier passes left. The text says what is wrong with it, if something is.
    pub fn read(node: &'n Node) -> (Self, Option<String>) {
        let (value, note) = read_service_memory(&node.root, &node.settings.paths.state);
        (Self { node, value, written: None }, note)
    }

    /// Writes what is remembered, unless the disk holds it. The services of another root directory
    /// do not run, and the history of passes is lost of them.
    ///
    /// # Errors
    /// When the file can't be written, in words for an operator.
    pub fn persist(&mut self) -> Result<(), String> {
        if !self.node.root.is_host() || self.written.as_ref() == Some(&self.value) {
            return Ok(());
        }
        write_service_memory(&self.node.root, &self.node.settings.paths.state, &self.value)
            .map_err(|e| format!("{e}; the refreshes of services can't be recorded"))?;
        self.written = Some(self.value.clone());
        Ok(())
    }
}

//! The memory of services during a pass: loaded once, changed as a value, and written before each
//! restart and at the end of the pass.

use crate::model::{ContentName, Replaced, ServiceMemory, Timestamp, TrustFileFacts};
use crate::observe::Node;
use crate::plan::{Moment, note_replaced};
use crate::state::{read_service_memory, write_service_memory};
use crate::sys::{FileError, uptime};

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

/// The files whose CA certificates were replaced between two looks at them.
pub(super) fn replaced_ca_certificates(
    before: &[TrustFileFacts],
    after: &[TrustFileFacts],
) -> Vec<Replaced> {
    let replaced = |facts: &TrustFileFacts| {
        let found = facts.certificates.as_ref().ok()?;
        let known = before.iter().find(|known| known.file == facts.file);
        let known = known.and_then(|known| known.certificates.as_ref().ok());
        (known != Some(found)).then(|| Replaced {
            content: ContentName::CaCertificates(facts.file.clone()),
            fingerprint: found.fingerprint,
            not_after: found.not_after,
        })
    };
    after.iter().filter_map(replaced).collect()
}

/// Notes what a command put in place, soon after it did: the next pass has services use it at once.
/// The services of another root directory do not run.
///
/// # Errors
/// When it can't be written.
pub(super) fn note_put_in_place(
    node: &Node,
    replaced: &[Replaced],
    now: Timestamp,
) -> Result<(), FileError> {
    if !node.root.is_host() {
        return Ok(());
    }
    let state = &node.settings.paths.state;
    let moment = Moment { uptime: uptime(&node.root)?, at: now };
    let (mut memory, _) = read_service_memory(&node.root, state);
    replaced.iter().for_each(|one| note_replaced(&mut memory, one, &moment));
    write_service_memory(&node.root, state, &memory)
}

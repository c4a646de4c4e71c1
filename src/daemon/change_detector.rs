//! Finds the files that another program changed since the last pass: the watcher hints at a change,
//! and after a quiet time the contents are compared.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::watch::{Contents, Debounce, Watch};
use crate::model::AbsolutePath;
use crate::observe::Node;
use crate::pass;
use crate::report::line;
use crate::state::rotation_file;

/// The watched files, and their contents as the last pass left them.
#[derive(Debug)]
pub(super) struct ChangeDetector {
    watch: Watch,
    quiet: Debounce,
    contents: Contents,
    /// Files found changed when the configuration was read again, before the quiet time was over.
    unreported: BTreeSet<AbsolutePath>,
}

impl ChangeDetector {
    /// Takes the present contents as unchanged. Watches nothing yet.
    pub fn new(node: &Node) -> Self {
        let contents = Contents::read(&node.root, &files(node));
        Self {
            watch: Watch::new(&node.root),
            quiet: Debounce::default(),
            contents,
            unreported: BTreeSet::new(),
        }
    }

    /// Sets the watches to the present files and directories. It is called again when one may have
    /// appeared or vanished.
    pub fn rearm_watches(&mut self, node: &Node) {
        self.watch.rearm(&node.root, &files(node)).iter().for_each(line::log_note);
    }

    /// The time to call [`Self::rearm_watches`] again for directories that can't be watched yet.
    pub fn retry_at(&self) -> Option<Instant> {
        self.watch.retry_at()
    }

    /// Does the same as [`Self::rearm_watches`], and tries what could not be watched.
    pub fn retry_watches(&mut self, node: &Node) {
        self.watch.retry_now();
        self.rearm_watches(node);
    }

    /// Waits for a hint. It is followed by [`Self::rearm_watches`] and [`Self::note_hint`].
    pub async fn wait_for_hint(&mut self) {
        self.watch.wait_for_hint().await;
    }

    /// Begins a quiet time, or extends it.
    pub fn note_hint(&mut self) {
        self.quiet.record(Instant::now());
    }

    /// The end of the quiet time; `None` without a hint.
    pub fn quiet_until(&self) -> Option<Instant> {
        self.quiet.due()
    }

    /// Begins a new quiet time, when the old one is over during a pass.
    pub fn postpone(&mut self) {
        self.quiet.reset();
        self.note_hint();
    }

    /// Takes the files that changed, each once, and forgets the hints.
    pub fn take_changed(&mut self, node: &Node) -> BTreeSet<AbsolutePath> {
        self.quiet.reset();
        let now = Contents::read(&node.root, &files(node));
        let mut changed = std::mem::take(&mut self.unreported);
        changed.extend(self.contents.changed(&now));
        self.contents = now;
        changed
    }

    /// Whether an operator gave an order about the root CA since this was last asked: it is one
    /// whole file, so that nothing more is waited for.
    pub fn take_order(&mut self, node: &Node) -> bool {
        let before = self.contents.clone();
        self.contents.reread(&node.root, &[rotation_file(&node.settings.paths.state)]);
        !self.contents.changed(&before).is_empty()
    }

    /// Takes the contents of files that a pass wrote as unchanged.
    pub fn accept_written(&mut self, node: &Node, written: &[AbsolutePath]) {
        self.contents.reread(&node.root, written);
        self.unreported.retain(|file| !written.contains(file));
    }

    /// Goes over to the files of another configuration, and keeps the changes found by then.
    pub fn switch_node(&mut self, old: &Node, new: &Node) {
        self.unreported.extend(self.contents.changed(&Contents::read(&old.root, &files(old))));
        self.contents = Contents::read(&new.root, &files(new));
    }
}

/// The files whose contents matter: credentials, authorities, manifests, and the order to replace
/// the root CA. Files that others than
/// root can write are left out: a user could cause pass after pass, or keep them off.
fn files(node: &Node) -> Vec<AbsolutePath> {
    let catalog = &node.catalog;
    let kubeconfigs = catalog.credentials.iter().flat_map(|one| one.location.files().cloned());
    let authorities = catalog
        .authorities
        .iter()
        .flat_map(|one| [&one.certificate].into_iter().chain(one.keys()).cloned());
    let trusts = catalog.services.iter().flat_map(|service| &service.trusts);
    let trusts = trusts.map(|file| file.path().clone());
    let orders = [rotation_file(&node.settings.paths.state)];
    let credentials = pass::files(node).into_iter().chain(orders);
    let all = credentials.chain(kubeconfigs).chain(authorities).chain(trusts);
    let all: BTreeSet<_> = all.chain(node.manifests.iter().cloned()).collect();
    let is_root_only = |file: &AbsolutePath| match node.root.is_writable_by_others(file) {
        Ok(others) => !others,
        // It may be put there, by root.
        Err(e) => e.is_not_found(),
    };
    all.into_iter().filter(is_root_only).collect()
}

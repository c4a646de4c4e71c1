//! What somebody else changed since the last pass: hints from the watcher, a while of quiet after
//! them, and then whether any file holds something else than it did. What is done about it is the
//! main loop's.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::watch::{Contents, Debounce, Watch};
use crate::model::AbsolutePath;
use crate::observe::Node;
use crate::pass;
use crate::report::line;

/// The eyes of the daemon.
#[derive(Debug)]
pub(super) struct Changes {
    watch: Watch,
    quiet: Debounce,
    /// As the last pass left it.
    contents: Contents,
    /// What had changed when the configuration was read again, and was not quiet yet.
    unanswered: BTreeSet<AbsolutePath>,
}

impl Changes {
    /// What is there now is no change. Watches nothing yet.
    pub fn from_now(node: &Node) -> Self {
        let contents = Contents::read(&node.root, &files(node));
        Self {
            watch: Watch::new(&node.root),
            quiet: Debounce::default(),
            contents,
            unanswered: BTreeSet::new(),
        }
    }

    /// Watches what is to be watched by now. To be called again when something may have come or
    /// gone.
    pub fn aim(&mut self, node: &Node) {
        self.watch.rearm(&node.root, &files(node)).iter().for_each(line::note);
    }

    /// Waits until something may have changed. To be followed by [`Self::aim`] and [`Self::hint`].
    pub async fn hinted(&mut self) {
        self.watch.wait_for_hint().await;
    }

    /// Something may have changed.
    pub fn hint(&mut self) {
        self.quiet.record(Instant::now());
    }

    /// When it will have been quiet for long enough after the last hint. `None` while there was
    /// none.
    pub fn quiet(&self) -> Option<Instant> {
        self.quiet.due()
    }

    /// It was quiet for long enough, and is not the time to look: a while of quiet begins anew.
    pub fn put_off(&mut self) {
        self.quiet.reset();
        self.hint();
    }

    /// The files that hold something else now, each told once. Forgets the hints.
    pub fn take(&mut self, node: &Node) -> BTreeSet<AbsolutePath> {
        self.quiet.reset();
        let now = Contents::read(&node.root, &files(node));
        let mut changed = std::mem::take(&mut self.unanswered);
        changed.extend(self.contents.changed(&now));
        self.contents = now;
        changed
    }

    /// A pass wrote these: what they hold now is no change.
    pub fn are_ours(&mut self, node: &Node, written: &[AbsolutePath]) {
        self.contents.reread(&node.root, written);
        self.unanswered.retain(|file| !written.contains(file));
    }

    /// The configuration was read again: it is about other files from now on, and what had changed
    /// before is not forgotten.
    pub fn look_at(&mut self, old: &Node, new: &Node) {
        self.unanswered.extend(self.contents.changed(&Contents::read(&old.root, &files(old))));
        self.contents = Contents::read(&new.root, &files(new));
    }
}

/// The files whose content matters: credentials, authorities, and the manifests. Not those that
/// others have in their hands: whoever changes one without end must neither keep us at work nor
/// from it.
fn files(node: &Node) -> Vec<AbsolutePath> {
    let catalog = &node.catalog;
    let copies = catalog.copies().flat_map(|copy| copy.location.files());
    let others: BTreeSet<_> =
        copies.filter(|file| node.root.is_writable_by_others(file).unwrap_or(true)).collect();
    let kubeconfigs = catalog.credentials.iter().flat_map(|one| one.location.files().cloned());
    let authorities =
        catalog.authorities.iter().flat_map(|one| [one.certificate.clone(), one.key.clone()]);
    let credentials = pass::files(node).into_iter();
    let all =
        credentials.chain(kubeconfigs).chain(authorities).chain(node.manifests.iter().cloned());
    let mut files: Vec<_> = all.filter(|file| !others.contains(file)).collect();
    files.sort();
    files.dedup();
    files
}

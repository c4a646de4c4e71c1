//! Checks the entries of a journal before they are followed: root renames only files that kubecertd
//! manages, and only staged files with a name that kubecertd gives.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::files::{staged_prefix, unresolved_place};
use super::journal::Entry;
use super::link::may_lead_to;
use crate::model::{AbsolutePath, CredentialName};
use crate::sys::{Identity, Root};

/// The files that may be replaced.
pub(super) struct KnownTargets<'r> {
    root: &'r Root,
    /// The places of the files, with symlinks followed.
    places: BTreeSet<(Identity, OsString)>,
    /// The places of the paths themselves, symlinks or not.
    links: BTreeSet<(Identity, OsString)>,
    /// The paths, for files in a directory that can't be opened now.
    paths: BTreeSet<PathBuf>,
}

impl<'r> KnownTargets<'r> {
    pub(super) fn new(root: &'r Root, targets: &[AbsolutePath]) -> Self {
        let place = |target: &AbsolutePath| {
            let place = root.locate(target).ok()?;
            Some((place.dir.identity().ok()?, place.name))
        };
        let link = |target: &AbsolutePath| {
            unresolved_place(root, target)
                .and_then(|place| Some((place.dir.identity().ok()?, place.name)))
        };
        let paths = targets.iter().map(|target| target.as_path().to_owned()).collect();
        let (places, links) =
            (targets.iter().filter_map(place).collect(), targets.iter().filter_map(link).collect());
        Self { root, places, links, paths }
    }

    /// Splits an intent into the entries that may be followed and the reasons why others are
    /// refused. One refused entry refuses all entries of its credential.
    pub(super) fn split(&self, intent: &[Entry]) -> (Vec<Entry>, Vec<String>) {
        let refused: Vec<(CredentialName, String)> = intent
            .iter()
            .filter_map(|entry| Some((entry.credential().clone(), self.refusal(entry)?)))
            .collect();
        let names: BTreeSet<_> = refused.iter().map(|(name, _)| name).collect();
        let trusted =
            intent.iter().filter(|entry| !names.contains(entry.credential())).cloned().collect();
        (trusted, refused.iter().map(|(name, why)| format!("{name}: {why}")).collect())
    }

    fn refusal(&self, entry: &Entry) -> Option<String> {
        let (dir, name, staged, places) = match entry {
            Entry::Replace { dir, name, staged, .. } => (dir, name, vec![staged], &self.places),
            Entry::Link { dir, name, dated, .. } if !may_lead_to(name, dated) => {
                let link = dir.join(name);
                return Some(format!(
                    "the journal would make {} lead to {dated:?}, which kubecertd never does",
                    link.display()
                ));
            }
            Entry::Link { dir, name, staged, file, .. } => {
                (dir, name, vec![staged, file], &self.links)
            }
        };
        let shown = dir.join(name);
        let is_staged_name = |staged: &str| {
            is_name(staged)
                && staged.as_bytes().starts_with(staged_prefix(OsStr::new(name)).as_encoded_bytes())
        };
        if let Some(staged) =
            staged.into_iter().find(|staged| !is_name(name) || !is_staged_name(staged))
        {
            return Some(format!(
                "the journal would replace {} by {staged:?}, which kubecertd never does",
                shown.display()
            ));
        }
        let known = match self.root.open_dir(dir).and_then(|opened| opened.identity()) {
            Ok(identity) => places.contains(&(identity, OsString::from(name))),
            // The directory may be missing only for now; nothing can be changed in it either.
            Err(_) => self.paths.contains(&shown),
        };
        (!known).then(|| {
            format!(
                "the journal would replace {}, which is not managed on this node",
                shown.display()
            )
        })
    }
}

/// Whether a text is the name of a directory entry, and not a path that leads out of it.
fn is_name(text: &str) -> bool {
    let mut components = Path::new(text).components();
    let (first, second) = (components.next(), components.next());
    second.is_none() && matches!(first, Some(Component::Normal(name)) if name == text)
}

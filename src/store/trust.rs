//! A journal is an instruction to rename files, followed by root. It is followed only as far as it
//! is about files that are looked after here, and about staged files of our own making.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::journal::Entry;
use super::link::may_lead_to;
use super::recover::own_place;
use super::staged_prefix;
use crate::model::{AbsolutePath, CredentialName};
use crate::sys::{Identity, Root};

/// The files that may be replaced.
pub(super) struct Known<'r> {
    root: &'r Root,
    /// Where they really are.
    places: BTreeSet<(Identity, OsString)>,
    /// Where their names stand, be they symlinks.
    links: BTreeSet<(Identity, OsString)>,
    /// Their names, for those in a folder that can't be looked at now.
    paths: BTreeSet<PathBuf>,
}

impl<'r> Known<'r> {
    pub(super) fn new(root: &'r Root, targets: &[AbsolutePath]) -> Self {
        let place = |target: &AbsolutePath| {
            let place = root.locate(target).ok()?;
            Some((place.dir.identity().ok()?, place.name))
        };
        let link = |target: &AbsolutePath| {
            own_place(root, target).and_then(|place| Some((place.dir.identity().ok()?, place.name)))
        };
        let paths = targets.iter().map(|target| target.as_path().to_owned()).collect();
        let (places, links) =
            (targets.iter().filter_map(place).collect(), targets.iter().filter_map(link).collect());
        Self { root, places, links, paths }
    }

    /// Takes out of an intent what is not ours to do, whole credentials at a time, and says why.
    pub(super) fn split(&self, intent: Vec<Entry>) -> (Vec<Entry>, Vec<String>) {
        let refused: Vec<(CredentialName, String)> = intent
            .iter()
            .filter_map(|entry| Some((entry.credential().clone(), self.refusal(entry)?)))
            .collect();
        let names: BTreeSet<_> = refused.iter().map(|(name, _)| name).collect();
        let trusted =
            intent.into_iter().filter(|entry| !names.contains(entry.credential())).collect();
        (trusted, refused.iter().map(|(name, why)| format!("{name}: {why}")).collect())
    }

    fn refusal(&self, entry: &Entry) -> Option<String> {
        let (folder, name, staged, places) = match entry {
            Entry::Replace { folder, name, staged, .. } => {
                (folder, name, vec![staged], &self.places)
            }
            Entry::Link { folder, name, dated, .. } if !may_lead_to(name, dated) => {
                let link = folder.join(name);
                return Some(format!(
                    "the journal would make {} lead to {dated:?}, which kubecertd never does",
                    link.display()
                ));
            }
            Entry::Link { folder, name, staged, file, .. } => {
                (folder, name, vec![staged, file], &self.links)
            }
        };
        let shown = folder.join(name);
        let ours = |staged: &str| {
            is_name(staged)
                && staged.as_bytes().starts_with(staged_prefix(OsStr::new(name)).as_encoded_bytes())
        };
        if let Some(staged) = staged.into_iter().find(|staged| !is_name(name) || !ours(staged)) {
            return Some(format!(
                "the journal would put {staged:?} in the place of {}, which kubecertd never does",
                shown.display()
            ));
        }
        let known = match self.root.open_dir(folder).and_then(|dir| dir.identity()) {
            Ok(identity) => places.contains(&(identity, OsString::from(name))),
            // It may only be away for now; nothing can be done in it either.
            Err(_) => self.paths.contains(&shown),
        };
        (!known).then(|| {
            format!(
                "the journal would replace {}, which is not looked after on this node",
                shown.display()
            )
        })
    }
}

/// Whether it is the name of an entry in a folder, and no path out of it.
fn is_name(text: &str) -> bool {
    let mut components = Path::new(text).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == text)
}

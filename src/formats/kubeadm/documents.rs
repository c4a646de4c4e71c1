//! The ClusterConfiguration among the documents of a text, with its tree.

use std::ops::Range;

use crate::formats::edit::{
    EditError, EditObstacle, entry, is_in_brackets, readable_tree, text_of,
};
use crate::formats::kubeconfig::tree::YamlNode;

pub(super) const CONTROLLER_MANAGER: &str = "controllerManager";
pub(super) const EXTRA_ARGS: &str = "extraArgs";

/// How a version of the API writes extra arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentForm {
    /// `name: value`, up to v1beta3.
    Map,
    /// Items with `name` and `value`, in v1beta4.
    List,
}

/// The one ClusterConfiguration of a text.
pub(super) struct ClusterConfiguration<'t> {
    whole: &'t str,
    /// Its bytes in the whole text.
    range: Range<usize>,
    /// How many line breaks are before it in `text`.
    padding: usize,
    /// Its text, behind as many line breaks as it has in the whole text: errors name the right
    /// line.
    pub text: String,
    pub root: YamlNode,
    pub form: ArgumentForm,
}

impl<'t> ClusterConfiguration<'t> {
    /// Finds it.
    pub fn find(whole: &'t str) -> Result<Self, EditError> {
        let mut found = None;
        for range in documents(whole)? {
            let (text, padding) = padded(whole, &range);
            let root = readable_tree(&text)?;
            if field(&root, "kind") != "ClusterConfiguration" {
                continue;
            }
            let form = form_of(field(&root, "apiVersion"))?;
            if found.replace(Self { whole, range, padding, text, root, form }).is_some() {
                return Err(EditError::SeveralConfigurations);
            }
        }
        found.ok_or(EditError::NoConfiguration)
    }

    /// Refuses JSON.
    pub fn refuse_brackets(&self) -> Result<(), EditError> {
        if is_in_brackets(&self.text, &self.root) { Err(EditError::Json) } else { Ok(()) }
    }

    /// The whole text with another one in its place.
    pub fn with_text(&self, text: &str) -> String {
        let before = self.whole.get(..self.range.start).unwrap_or_default();
        let behind = self.whole.get(self.range.end..).unwrap_or_default();
        [before, text.get(self.padding..).unwrap_or_default(), behind].concat()
    }
}

fn field<'n>(root: &'n YamlNode, name: &str) -> &'n str {
    entry(root, name).and_then(|(_, value)| text_of(value)).unwrap_or_default()
}

fn form_of(version: &str) -> Result<ArgumentForm, EditError> {
    match version.strip_prefix("kubeadm.k8s.io/") {
        Some("v1beta1" | "v1beta2" | "v1beta3") => Ok(ArgumentForm::Map),
        Some("v1beta4") => Ok(ArgumentForm::List),
        _ => Err(EditError::UnknownVersion { version: version.to_owned() }),
    }
}

fn padded(whole: &str, range: &Range<usize>) -> (String, usize) {
    let padding = whole.get(..range.start).unwrap_or_default().matches('\n').count();
    let text = whole.get(range.clone()).unwrap_or_default();
    ("\n".repeat(padding) + text, padding)
}

/// The bytes of the documents between the markers, as kubeadm splits them: it refuses anything but
/// a comment behind a marker.
fn documents(text: &str) -> Result<Vec<Range<usize>>, EditError> {
    let (mut all, mut start, mut at) = (Vec::new(), 0, 0);
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        if let Some(rest) = content.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                let (object, obstacle) = ("the marker ---".to_owned(), EditObstacle::Layout);
                return Err(EditError::Refused { line, object, obstacle });
            }
            all.push(start..at);
            start = at + content.len();
        }
        at += content.len();
    }
    all.push(start..text.len());
    Ok(all)
}

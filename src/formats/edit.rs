//! Edits of YAML texts that leave every other byte as it is.
//!
//! Here are the errors of such an edit, and the bytes and lines at which a value is written. The
//! two kinds of edits are in `manifest::flags` and `kubeadm::arguments`. Both compare the result,
//! read again, with the tree that was expected.

use std::ops::Range;

use zeroize::Zeroizing;

use super::kubeconfig::refuse_ambiguous_lines;
use super::kubeconfig::tree::{Value, YamlNode};
use super::kubeconfig::{KubeconfigError, SpliceError};
use super::manifest::ManifestError;

/// Why a text can't be edited. The texts name the line, not the file: the caller adds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum EditError {
    #[error(transparent)]
    NotAPod(#[from] ManifestError),
    #[error(transparent)]
    Unreadable(SpliceError),
    #[error("it is written as JSON; write it as YAML, one field a line")]
    Json,
    #[error(
        "no container of the pod has {component} as the program of its command, without a shell"
    )]
    NoProgram { component: String },
    #[error("not all flags of {component} are known: {reason}")]
    UnknownFlags { component: String, reason: String },
    #[error("it holds no ClusterConfiguration")]
    NoConfiguration,
    #[error("it holds more than one ClusterConfiguration; remove all but one")]
    SeveralConfigurations,
    #[error("the apiVersion {version:?} of its ClusterConfiguration is not known")]
    UnknownVersion { version: String },
    #[error("line {line}: {object} can't be changed without changing anything else: {obstacle}")]
    Refused { line: u64, object: String, obstacle: EditObstacle },
    #[error(
        "{value:?} is no value for {object}: an absolute path of letters, digits and ._- is \
         expected"
    )]
    NoPlainPath { object: String, value: String },
    #[error(
        "the text with another {object}, read again, has other changes too; it is left as it is"
    )]
    NotTheSame { object: String },
}

impl From<KubeconfigError> for EditError {
    fn from(error: KubeconfigError) -> Self {
        Self::Unreadable(error.into())
    }
}

/// What prevents an edit at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditObstacle {
    /// An alias, a merge key, or an anchor that one of them names.
    #[error("an anchor shares it with another place; write it out")]
    Shared,
    /// `!!str` or another tag.
    #[error("it has a tag; remove the tag")]
    Tagged,
    /// The value that is read differs from the text that is written.
    #[error("it has escapes or several lines; write it as it is, on one line")]
    Escaped,
    /// A flag whose value is the item after it, or that has none.
    #[error("its value is not in the same item; write --name=value")]
    SeparateValue,
    /// A flag with one dash.
    #[error("it has one dash; write --name=value")]
    OneDash,
    /// The name of a flag is made from a variable.
    #[error("a variable is part of its name; write it out")]
    Variable,
    /// It is there more than once.
    #[error("it is there for the second time; remove one of them")]
    Repeated,
    /// Its list would be empty without it.
    #[error("it is the only item of its list; remove the list")]
    OnlyItem,
    /// A comment would be removed with it.
    #[error("a comment is behind it; write the comment on a line of its own")]
    Comment,
    /// Its line or lines hold something else.
    #[error("it has no line of its own; write it as kubeadm does")]
    Layout,
    /// The value has another type or notation than in what kubeadm writes.
    #[error("it has not the form that kubeadm writes for this apiVersion")]
    Form,
}

/// Parses the tree of a text of one document.
pub(super) fn readable_tree(text: &str) -> Result<YamlNode, EditError> {
    refuse_ambiguous_lines(text).map_err(EditError::Unreadable)?;
    Ok(YamlNode::parse(text)?)
}

/// Parses the tree of a text that is to be edited.
pub(super) fn editable_tree(text: &str) -> Result<YamlNode, EditError> {
    let root = readable_tree(text)?;
    if is_in_brackets(text, &root) { Err(EditError::Json) } else { Ok(root) }
}

/// Whether a mapping or list is written in brackets: the parser reports the first one. Of others it
/// reports no bytes.
pub(super) fn is_in_brackets(text: &str, node: &YamlNode) -> bool {
    let reported = node.defined.as_ref().and_then(|range| text.get(range.clone()));
    matches!(node.value, Value::Map(_) | Value::List(_))
        && reported.is_some_and(|reported| reported.starts_with(['{', '[']))
}

/// Refuses a value that would have to be quoted, or that a variable could be part of.
pub(super) fn refuse_special(object: &str, value: Option<&str>) -> Result<(), EditError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    match value {
        Some(value) if !value.starts_with('/') || !value.bytes().all(plain) => {
            Err(EditError::NoPlainPath { object: object.to_owned(), value: value.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The entry of a mapping, also where it is null.
pub(super) fn entry<'n>(node: &'n YamlNode, name: &str) -> Option<&'n (YamlNode, YamlNode)> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| text_of(key) == Some(name))
}

/// The value of an entry, to be changed.
pub(super) fn value_mut<'n>(node: &'n mut YamlNode, name: &str) -> Option<&'n mut YamlNode> {
    let Value::Map(entries) = &mut node.value else { return None };
    let found = entries.iter_mut().find(|(key, _)| text_of(key) == Some(name));
    found.map(|(_, value)| value)
}

/// The text of a string.
pub(super) fn text_of(node: &YamlNode) -> Option<&str> {
    let Value::Text(text) = &node.value else { return None };
    Some(text)
}

/// A node of an expected tree.
pub(super) fn node(value: Value) -> YamlNode {
    YamlNode { line: 0, defined: None, in_place: true, tag: None, value }
}

/// A string of an expected tree.
pub(super) fn text_node(text: &str) -> YamlNode {
    node(Value::Text(Zeroizing::new(text.to_owned())))
}

/// The bytes of a scalar on one line, with its quotes.
pub(super) fn scalar(
    text: &str,
    root: &YamlNode,
    node: &YamlNode,
) -> Result<Range<usize>, EditObstacle> {
    let defined = node.defined.clone().ok_or(EditObstacle::Escaped)?;
    if !node.in_place || root.uses_of(&defined) != 1 {
        return Err(EditObstacle::Shared);
    }
    if node.tag.is_some() {
        return Err(EditObstacle::Tagged);
    }
    let written = text.get(defined.clone()).ok_or(EditObstacle::Escaped)?.trim_end();
    if written.is_empty() || written.contains(['\n', '\r']) {
        return Err(EditObstacle::Escaped);
    }
    Ok(defined.start..defined.start + written.len())
}

/// The bytes of a string on one line, without its quotes, where it is written without escapes.
pub(super) fn literal(
    text: &str,
    root: &YamlNode,
    node: &YamlNode,
) -> Result<Range<usize>, EditObstacle> {
    let whole = scalar(text, root, node)?;
    let value = text_of(node).ok_or(EditObstacle::Form)?;
    let written = text.get(whole.clone()).unwrap_or_default();
    let is_around = |quote: &&str| {
        let inner = written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        inner == Some(value)
    };
    let quote = ["", "'", "\""].into_iter().find(is_around).ok_or(EditObstacle::Escaped)?;
    Ok(whole.start + quote.len()..whole.end - quote.len())
}

/// The first byte of a line.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |place| place + 1)
}

/// The first byte of the next line, or the end of the text.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n').map_or(text.len(), |place| at + place + 1)
}

/// What is on a line before a byte.
pub(super) fn line_before(text: &str, at: usize) -> &str {
    text.get(line_start(text, at)..at).unwrap_or_default()
}

/// What is on a line from a byte on, without the line break.
pub(super) fn line_from(text: &str, at: usize) -> &str {
    let rest = text.get(at..next_line(text, at)).unwrap_or_default();
    let rest = rest.strip_suffix('\n').unwrap_or(rest);
    rest.strip_suffix('\r').unwrap_or(rest)
}

/// Whether there is nothing but spaces.
pub(super) fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ')
}

/// Whether there are spaces, the dash of an item, and spaces.
pub(super) fn is_dash(text: &str) -> bool {
    text.trim_start_matches(' ')
        .strip_prefix('-')
        .is_some_and(|rest| !rest.is_empty() && is_blank(rest))
}

/// Refuses anything but a comment in the rest of a line.
pub(super) fn refuse_more(rest: &str) -> Result<(), EditObstacle> {
    match refuse_any(rest) {
        Err(EditObstacle::Comment) => Ok(()),
        result => result,
    }
}

/// Refuses anything in the rest of a line.
pub(super) fn refuse_any(rest: &str) -> Result<(), EditObstacle> {
    match rest.trim_start_matches([' ', '\t']) {
        "" => Ok(()),
        comment if comment.starts_with('#') && comment.len() < rest.len() => {
            Err(EditObstacle::Comment)
        }
        _ => Err(EditObstacle::Layout),
    }
}

/// A part of a text, and what takes its place.
pub(super) type Replacement = (Range<usize>, String);

/// The new lines after the line of a byte.
pub(super) fn lines_after(text: &str, at: usize, lines: &[String]) -> Replacement {
    let next = next_line(text, at);
    let before = text.get(..next).unwrap_or_default();
    let is_ended = before.ends_with('\n');
    let ended =
        if is_ended { before } else { before.get(..line_start(text, at)).unwrap_or_default() };
    let line_break = if ended.ends_with("\r\n") { "\r\n" } else { "\n" };
    let new = if is_ended {
        lines.iter().map(|line| format!("{line}{line_break}")).collect()
    } else {
        lines.iter().map(|line| format!("{line_break}{line}")).collect()
    };
    (next..next, new)
}

/// The removal of the line of a byte.
pub(super) fn without_line(text: &str, at: usize) -> Replacement {
    (line_start(text, at)..next_line(text, at), String::new())
}

/// The text with its replacements, which don't overlap. Where the last line has no line break, the
/// last one of the result has none either.
pub(super) fn replaced(text: &str, mut replacements: Vec<Replacement>) -> String {
    replacements.sort_by_key(|(range, _)| range.start);
    let (mut after, mut rest) = (String::with_capacity(text.len()), 0);
    for (range, new) in replacements {
        after += text.get(rest..range.start).unwrap_or_default();
        after += &new;
        rest = range.end;
    }
    after += text.get(rest..).unwrap_or_default();
    if !text.ends_with('\n') && after.ends_with('\n') {
        after.pop();
        if after.ends_with('\r') {
            after.pop();
        }
    }
    after
}

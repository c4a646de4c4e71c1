//! Writes a renewed certificate and key into a kubeconfig and leaves every other byte as it is.
//!
//! Nothing is guessed: the positions of the two values that the parser reports are compared with
//! the text there, and the result is read again and compared with the original before it is
//! returned.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::read::{self, CERTIFICATE_DATA, KEY_DATA};
use super::tree::{Value, YamlNode};
use super::{Kubeconfig, Obstacle, SpliceError};
use crate::model::Secret;

/// Returns the text with the client certificate and key of the current user replaced, where both
/// are embedded.
///
/// Each keeps its style: plain, quoted, or a block; in a block it becomes one line.
///
/// # Errors
/// [`SpliceError`], when the text cannot be read, when one of the two is not embedded, or when it
/// is not certain that nothing else changes.
pub fn splice(
    text: &[u8],
    certificate_pem: &[u8],
    key_pem: &Secret,
) -> Result<Secret, SpliceError> {
    spliced(text, None, certificate_pem, key_pem)
}

/// Does the same for the user with this name, whether or not it is the current one.
///
/// # Errors
/// As [`splice`].
pub fn splice_user(
    text: &[u8],
    user: &str,
    certificate_pem: &[u8],
    key_pem: &Secret,
) -> Result<Secret, SpliceError> {
    spliced(text, Some(user), certificate_pem, key_pem)
}

/// Returns why the two values of a user could not be replaced, without trying it.
#[must_use]
pub fn obstacle_for(text: &[u8], user: &str) -> Option<SpliceError> {
    read::utf8(text)
        .map_err(SpliceError::from)
        .and_then(|text| Layout::of(text, Some(user)).map(drop))
        .err()
}

fn spliced(
    text: &[u8],
    user: Option<&str>,
    certificate_pem: &[u8],
    key_pem: &Secret,
) -> Result<Secret, SpliceError> {
    let before = Layout::of(read::utf8(text)?, user)?;
    let spliced = before.with(certificate_pem, key_pem.expose());
    let after = std::str::from_utf8(spliced.expose()).map_err(|_| SpliceError::NotTheSame)?;
    let after = Layout::of(after, user).map_err(|_| SpliceError::NotTheSame)?;
    let holds_the_new =
        after.certificate.bytes.expose() == certificate_pem && after.key.bytes == *key_pem;
    if holds_the_new && before.differs_only_in_values(&after) {
        Ok(spliced)
    } else {
        Err(SpliceError::NotTheSame)
    }
}

/// Returns why the values of this tree, read from this text, could not be replaced, without trying
/// it.
pub(super) fn obstacle(text: &str, root: &YamlNode) -> Option<SpliceError> {
    refuse_ambiguous_lines(text)
        .and_then(|()| Ok(read::current(root)?.user_entry()))
        .and_then(|user| places(text, root, &user))
        .err()
}

/// A text and the positions of the two values in it.
struct Layout<'t> {
    text: &'t str,
    root: YamlNode,
    certificate: ValueSpan,
    key: ValueSpan,
}

/// The position of a value.
pub(super) struct ValueSpan {
    /// The parser's range of the value: with the quotes, and with the line break after a block.
    pub(super) node: Range<usize>,
    /// The range of the base64 alone.
    pub(super) base64: Range<usize>,
    /// The decoded bytes.
    pub(super) bytes: Secret,
}

impl<'t> Layout<'t> {
    /// Finds the values of this user, or else of the current one.
    fn of(text: &'t str, user: Option<&str>) -> Result<Self, SpliceError> {
        refuse_ambiguous_lines(text)?;
        let root = read::document(text)?;
        // A file that a component would refuse for another reason is left as it is, too.
        let entry = match user {
            None => {
                Kubeconfig::of(&root)?;
                read::current(&root)?.user_entry()
            }
            Some(name) => read::user(&root, name)?,
        };
        let (certificate, key) = places(text, &root, &entry)?;
        Ok(Self { text, certificate, key, root })
    }

    /// Returns the text with other values.
    fn with(&self, certificate: &[u8], key: &[u8]) -> Secret {
        let certificate = Zeroizing::new(STANDARD.encode(certificate));
        let key = Zeroizing::new(STANDARD.encode(key));
        let (first, second) =
            if self.certificate_first() { (&certificate, &key) } else { (&key, &certificate) };
        let [before, between, after] = self.outside();
        Secret::new([before, first, between, second, after].concat().into_bytes())
    }

    /// Returns the text around the two values.
    fn outside(&self) -> [&'t str; 3] {
        let (certificate, key) = (&self.certificate.base64, &self.key.base64);
        let (first, second) =
            if self.certificate_first() { (certificate, key) } else { (key, certificate) };
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        [part(0..first.start), part(first.end..second.start), part(second.end..self.text.len())]
    }

    fn certificate_first(&self) -> bool {
        self.certificate.base64.start < self.key.base64.start
    }

    /// Whether another text differs only in the two values, in its bytes and in its meaning.
    fn differs_only_in_values(&self, other: &Layout<'_>) -> bool {
        let places =
            [(&self.certificate.node, &other.certificate.node), (&self.key.node, &other.key.node)];
        self.outside() == other.outside()
            && self.certificate_first() == other.certificate_first()
            && equal_except_for(&places, &self.root, &other.root)
    }
}

/// Finds the positions of certificate and key.
fn places(
    text: &str,
    root: &YamlNode,
    user: &read::UserEntry<'_>,
) -> Result<(ValueSpan, ValueSpan), SpliceError> {
    let place = |field| ValueSpan::find(text, root, user, field);
    Ok((place(CERTIFICATE_DATA)?, place(KEY_DATA)?))
}

impl ValueSpan {
    pub(super) fn find(
        text: &str,
        root: &YamlNode,
        user: &read::UserEntry<'_>,
        field: &'static str,
    ) -> Result<Self, SpliceError> {
        let missing = || SpliceError::NotEmbedded { user: user.user.to_owned(), field };
        let bytes = read::embedded(user.entry, field)?.ok_or_else(missing)?;
        let node = user.entry.field(field)?.ok_or_else(missing)?;
        let refused = |obstacle| SpliceError::Refused { line: node.line, field, obstacle };
        let defined = node.defined.clone().ok_or(refused(Obstacle::Escaped))?;
        if !node.in_place || root.uses_of(&defined) != 1 {
            return Err(refused(Obstacle::Shared));
        }
        if node.tag.is_some() {
            return Err(refused(Obstacle::Tagged));
        }
        let base64 = base64_in(text, &defined, node).ok_or(refused(Obstacle::Escaped))?;
        Ok(Self { node: defined, base64, bytes })
    }
}

/// Returns the range of the base64 inside that of a scalar: without quotes and surrounding space,
/// and only if the text there is what was read, except for the line breaks and indentation of a
/// block.
fn base64_in(text: &str, scalar: &Range<usize>, node: &YamlNode) -> Option<Range<usize>> {
    let whole = text.get(scalar.clone())?;
    let trimmed = whole.trim();
    let inner = unquoted(trimmed)?;
    let Value::Text(value) = &node.value else { return None };
    let solid = |byte: &u8| !byte.is_ascii_whitespace();
    if !inner.bytes().filter(solid).eq(value.bytes().filter(solid)) {
        return None;
    }
    let indentation = whole.len() - whole.trim_start().len();
    let quote = (trimmed.len() - inner.len()) / 2;
    let start = scalar.start + indentation + quote;
    Some(start..start + inner.len())
}

fn unquoted(scalar: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = scalar.strip_prefix(quote) {
            return rest.strip_suffix(quote);
        }
    }
    Some(scalar)
}

/// Whether two trees are equal, except for the nodes at these positions.
pub(super) fn equal_except_for(
    places: &[(&Range<usize>, &Range<usize>)],
    one: &YamlNode,
    other: &YamlNode,
) -> bool {
    let same = |one: &YamlNode, other: &YamlNode| equal_except_for(places, one, other);
    if places.iter().any(|(before, after)| {
        one.defined.as_ref() == Some(*before) && other.defined.as_ref() == Some(*after)
    }) {
        return one.tag == other.tag;
    }
    one.tag == other.tag
        && match (&one.value, &other.value) {
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
            }
            (Value::Map(one), Value::Map(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
            }
            (one, other) => one == other,
        }
}

/// YAML 1.1, and with it Go's parser, breaks lines at three characters that YAML 1.2 does not: a
/// comment for one may be a key for the other.
pub(in crate::formats) fn refuse_ambiguous_lines(text: &str) -> Result<(), SpliceError> {
    if text.is_ascii() {
        return Ok(());
    }
    let Some(place) = text.find(['\u{85}', '\u{2028}', '\u{2029}']) else { return Ok(()) };
    let before = text.get(..place).unwrap_or_default();
    Err(SpliceError::Ambiguous { line: 1 + before.matches('\n').count() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(certificate: &str, rest: &str) -> String {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{user: u}}}}]\nusers:\n- name: \
             u\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: \
             ZGVm\n{rest}"
        )
    }

    #[test]
    fn final_check_detects_other_changes_of_the_text() {
        let before = text("YWJj", "a: b # c\n");
        let differs_only_in_values = |after: String| {
            Layout::of(&before, None)
                .unwrap()
                .differs_only_in_values(&Layout::of(&after, None).unwrap())
        };
        assert!(differs_only_in_values(text("YWJjZGVm", "a: b # c\n")));
        for other in ["a: b # d\n", "a: b  # c\n", "a: b # c", "a: c # c\n", "a: b # c\nd: e\n"] {
            assert!(!differs_only_in_values(text("YWJj", other)), "{other:?}");
        }
        assert!(!differs_only_in_values(text("'YWJj'", "a: b # c\n")));
    }

    #[test]
    fn final_check_detects_other_changes_of_the_meaning() {
        let same = |one: &str, other: &str| {
            // The three bytes at the beginning of the value of `v` may differ.
            equal_except_for(
                &[(&(3..6), &(3..6))],
                &YamlNode::parse(one).unwrap(),
                &YamlNode::parse(other).unwrap(),
            )
        };
        assert!(same("v: abc\nw: [1, {a: ~}]\n", "v: def\nw: [1, {a: ~}]\n"));
        let others = [
            "[2, {a: ~}]",
            "[1, {b: ~}]",
            "[1, {a: 5}]",
            "[1]",
            "[1, {a: ~}, 2]",
            "[1, {a: ~, b: ~}]",
            "['1', {a: ~}]",
            "!x [1, {a: ~}]",
        ];
        for other in others {
            assert!(!same("v: abc\nw: [1, {a: ~}]\n", &format!("v: def\nw: {other}\n")), "{other}");
        }
    }
}

//! A YAML document as a tree in which every node knows its position in the text.
//!
//! Reading uses this tree instead of derived structures for three reasons: it needs the position of
//! each value; its error texts must not quote the file, as a library's may, because it can contain
//! a key; and comparing two documents except for two values needs all values. Nothing here knows
//! what a kubeconfig is.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Location, Options, Spanned, Tagged};
use zeroize::Zeroizing;

use super::KubeconfigError;
use super::go_yaml::GoReading;

/// One value and its position.
pub(in crate::formats) struct YamlNode {
    /// The line of the value, or of the alias that refers to it, counted from one.
    pub line: u64,
    /// The bytes of the text that define the value. For a block scalar they begin after its header
    /// and indentation.
    pub defined: Option<Range<usize>>,
    /// Whether the value is written here, not inserted by an alias or a merge key.
    pub in_place: bool,
    /// An explicit tag, resolved: `tag:yaml.org,2002:binary`.
    pub tag: Option<String>,
    pub value: Value,
}

/// The content of a node.
#[derive(PartialEq)]
pub(in crate::formats) enum Value {
    Null,
    /// A string. Any of them may be a private key.
    Text(Zeroizing<String>),
    /// A number or a boolean, as text.
    Other(String),
    List(Vec<YamlNode>),
    /// The entries in the order of the text.
    Map(Vec<(YamlNode, YamlNode)>),
}

/// Compares content only, not positions.
impl PartialEq for YamlNode {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag && self.value == other.value
    }
}

impl YamlNode {
    /// Parses a text of one document.
    ///
    /// # Errors
    /// When it is not UTF-8, not YAML, has too much nesting or repetition, or is more than one
    /// document.
    pub(in crate::formats) fn parse(text: &str) -> Result<Self, KubeconfigError> {
        let text = without_last_markers(text);
        let mut root: Self = serde_saphyr::from_str_with_options(text, options())
            .map_err(|error| explain(&error))?;
        root.take_from_strings(&GoReading::of(text)?.not_strings);
        root.check_keys()?;
        Ok(root)
    }

    /// Checks that every key is one that JSON can have: Kubernetes converts the file to it.
    fn check_keys(&self) -> Result<(), KubeconfigError> {
        let check = |(key, value): &(Self, Self)| match key.value {
            Value::Null | Value::List(_) | Value::Map(_) => {
                let reason = "a key that is neither a string nor a number";
                Err(KubeconfigError::NotForKubernetes { line: key.line, reason })
            }
            Value::Text(_) | Value::Other(_) => value.check_keys(),
        };
        match &self.value {
            Value::List(items) => items.iter().try_for_each(Self::check_keys),
            Value::Map(entries) => entries.iter().try_for_each(check),
            Value::Null | Value::Text(_) | Value::Other(_) => Ok(()),
        }
    }

    /// Makes the values that begin at these bytes no strings.
    fn take_from_strings(&mut self, not_strings: &BTreeSet<usize>) {
        match &mut self.value {
            Value::Text(text)
                if self.tag.is_none()
                    && self.defined.as_ref().is_some_and(|at| not_strings.contains(&at.start)) =>
            {
                self.value = Value::Other(text.to_string());
            }
            Value::List(items) => {
                items.iter_mut().for_each(|item| item.take_from_strings(not_strings));
            }
            Value::Map(entries) => {
                entries.iter_mut().for_each(|(_, value)| value.take_from_strings(not_strings));
            }
            Value::Null | Value::Text(_) | Value::Other(_) => {}
        }
    }

    /// Returns the entry of a mapping; an entry that is null counts as absent, and so does any
    /// entry of a null.
    ///
    /// # Errors
    /// When the node is something else than a mapping.
    pub(super) fn field(&self, name: &'static str) -> Result<Option<&Self>, KubeconfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::Map(entries) => Ok(entries
                .iter()
                .find(|(key, _)| key.is_text(name))
                .map(|(_, value)| value)
                .filter(|v| !v.is_null())),
            Value::Text(_) | Value::Other(_) | Value::List(_) => {
                Err(KubeconfigError::NotAMapping { line: self.line, holding: name })
            }
        }
    }

    /// Returns the text of an entry; `None` when the entry is absent or empty.
    ///
    /// # Errors
    /// When the node is not a mapping, or the entry is not a string.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, KubeconfigError> {
        match self.field(name)? {
            None => Ok(None),
            Some(Self { value: Value::Text(text), tag, .. }) if tag.as_deref() != Some(BINARY) => {
                Ok(Some(text.as_str()).filter(|text| !text.is_empty()))
            }
            Some(other) => Err(KubeconfigError::NotAString { line: other.line, field: name }),
        }
    }

    /// Returns the error for an entry that is absent: where one has its name in other letters of
    /// upper or lower case, that is the reason.
    pub(super) fn letter_case(&self, name: &'static str) -> Option<KubeconfigError> {
        let Value::Map(entries) = &self.value else { return None };
        let is_it = |key: &Self| {
            matches!(&key.value, Value::Text(own) if own.as_str() != name
                && own.eq_ignore_ascii_case(name))
        };
        let (key, _) = entries.iter().find(|(key, _)| is_it(key))?;
        Some(KubeconfigError::LetterCase { line: key.line, field: name })
    }

    /// Returns the items of an entry; none when the entry is absent.
    ///
    /// # Errors
    /// When the node is not a mapping, or the entry is not a list.
    pub(super) fn list(&self, name: &'static str) -> Result<&[Self], KubeconfigError> {
        match self.field(name)? {
            None => Ok(&[]),
            Some(Self { value: Value::List(items), .. }) => Ok(items),
            Some(other) => Err(KubeconfigError::NotAList { line: other.line, field: name }),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    fn is_text(&self, text: &str) -> bool {
        matches!(&self.value, Value::Text(own) if own.as_str() == text)
    }

    /// Counts the nodes of this tree that are defined by the same bytes: more than one when aliases
    /// or merge keys repeat them.
    pub(in crate::formats) fn uses_of(&self, bytes: &Range<usize>) -> usize {
        let own = usize::from(self.defined.as_ref() == Some(bytes));
        let inner: usize = match &self.value {
            Value::List(items) => items.iter().map(|item| item.uses_of(bytes)).sum(),
            Value::Map(entries) => {
                entries.iter().map(|(key, value)| key.uses_of(bytes) + value.uses_of(bytes)).sum()
            }
            Value::Null | Value::Text(_) | Value::Other(_) => 0,
        };
        own + inner
    }
}

/// The tag of base64 strings; a value with this tag differs from its text.
const BINARY: &str = "tag:yaml.org,2002:binary";

/// Removes markers at the end. Kubernetes reads the first document and ignores the rest, and a
/// marker followed only by comments begins no second one.
fn without_last_markers(text: &str) -> &str {
    let (mut start, mut end) = (text.len(), text.len());
    for line in text.split_inclusive('\n').rev() {
        start -= line.len();
        match line.trim_end() {
            "---" => end = start,
            "" | "..." => {}
            comment if comment.trim_start().starts_with('#') => {}
            _ => break,
        }
    }
    text.get(..end).unwrap_or(text)
}

/// Limits far above any kubeconfig; content that aliases repeat counts towards them. No snippets:
/// they quote the file.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // The parser takes 50 KiB of stack per level in a debug build, and threads have 2 MiB.
            max_depth: 16,
            max_nodes: 50_000,
            max_events: 200_000,
            max_aliases: 1_000,
            max_merge_keys: 1_000,
            max_total_scalar_bytes: 16 * 1024 * 1024,
            max_recorded_anchor_bytes: 16 * 1024 * 1024,
        },
        alias_limits: serde_saphyr::alias_limits! { max_replay_stack_depth: 8 },
        // Reported comments are limited to 32 consecutive lines; a licence at the top may be
        // longer.
        emit_comments: false,
        duplicate_keys: DuplicateKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    }
}

/// Translates the library's error: keeps only the position and the scanner's fixed phrases.
fn explain(error: &Error) -> KubeconfigError {
    let place = error.location().unwrap_or(Location::UNKNOWN);
    let line = place.line();
    let malformed = |reason: &str| KubeconfigError::Malformed {
        line,
        column: place.column(),
        reason: reason.to_owned(),
    };
    match error.without_snippet() {
        Error::AliasError { error, .. } => explain(error),
        Error::MultipleDocuments { .. } => KubeconfigError::SeveralDocuments { line },
        Error::DuplicateMappingKey { .. } => KubeconfigError::DuplicateKey { line },
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => KubeconfigError::TooComplex { line },
        Error::UnknownAnchor { .. } => malformed("an alias names an anchor that is not there"),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            malformed("a value contains itself through an alias")
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => malformed("a merge key needs a mapping"),
        // The only phrase of the scanner that quotes the file, a single character of it.
        Error::ExternalMessage { msg, .. } if msg.starts_with("unexpected character") => {
            malformed("unexpected character")
        }
        Error::ExternalMessage { msg, .. } => malformed(msg),
        _ => malformed("not valid YAML"),
    }
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Tagged(value, tag), referenced, defined } =
            Spanned::<Tagged<Value>>::deserialize(deserializer)?;
        Ok(Self {
            line: referenced.line(),
            defined: bytes(&defined),
            in_place: referenced == defined,
            tag,
            value,
        })
    }
}

fn bytes(place: &Location) -> Option<Range<usize>> {
    let start = usize::try_from(place.span().byte_offset()?).ok()?;
    let length = usize::try_from(place.span().byte_len()?).ok()?;
    Some(start..start.checked_add(length)?)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Other(format!("{value:?}")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

//! The types of the fields that are not read here, but by Kubernetes. client-go refuses the whole
//! file where one has another type (`k8s.io/client-go/tools/clientcmd/api/v1`).

use super::KubeconfigError;
use super::tree::{Value, YamlNode};

/// A field and its type.
pub(super) type Field = (&'static str, Kind);

/// The type of a field. `null` is of every type.
pub(super) enum Kind {
    /// A string.
    Text,
    /// True or false.
    Flag,
    /// A list of strings.
    Texts,
    /// A mapping of any keys to strings.
    TextsByName,
    /// A mapping of any keys to lists of strings.
    ListsByName,
    /// A mapping with these fields, among others.
    Fields(&'static [Field]),
    /// A list of mappings with these fields, among others.
    Items(&'static [Field]),
}

use Kind::{Fields, Flag, Items, ListsByName, Text, Texts, TextsByName};

const EXTENSIONS: Field = ("extensions", Items(&[("name", Text)]));

/// The fields at the top.
pub(super) const CONFIG: &[Field] =
    &[("preferences", Fields(&[("colors", Flag), EXTENSIONS])), EXTENSIONS];

/// The fields of a cluster.
pub(super) const CLUSTER: &[Field] = &[
    ("proxy-url", Text),
    ("insecure-skip-tls-verify", Flag),
    ("disable-compression", Flag),
    EXTENSIONS,
];

/// The fields of a context.
pub(super) const CONTEXT: &[Field] = &[("namespace", Text), EXTENSIONS];

/// The fields of a user.
pub(super) const USER: &[Field] = &[
    ("token", Text),
    ("tokenFile", Text),
    ("username", Text),
    ("password", Text),
    ("as", Text),
    ("as-uid", Text),
    ("as-groups", Texts),
    ("as-user-extra", ListsByName),
    ("auth-provider", Fields(&[("name", Text), ("config", TextsByName)])),
    (
        "exec",
        Fields(&[
            ("apiVersion", Text),
            ("command", Text),
            ("args", Texts),
            ("env", Items(&[("name", Text), ("value", Text)])),
            ("installHint", Text),
            ("interactiveMode", Text),
            ("provideClusterInfo", Flag),
        ]),
    ),
    EXTENSIONS,
];

impl YamlNode {
    /// Checks the types of these fields.
    ///
    /// # Errors
    /// When the node is not a mapping, or a field has another type.
    pub(super) fn check(&self, fields: &[Field]) -> Result<(), KubeconfigError> {
        fields.iter().try_for_each(|(name, kind)| match self.field(name)? {
            Some(found) => found.check_as(name, kind),
            None => Ok(()),
        })
    }

    fn check_as(&self, name: &'static str, kind: &Kind) -> Result<(), KubeconfigError> {
        let expected = match (kind, &self.value) {
            (_, Value::Null) | (Text, Value::Text(_)) => return Ok(()),
            // A number begins with another character.
            (Flag, Value::Other(word)) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                return Ok(());
            }
            (Texts, Value::List(items)) => {
                return items.iter().try_for_each(|item| item.check_as(name, &Text));
            }
            (TextsByName, Value::Map(entries)) => {
                return entries.iter().try_for_each(|(_, value)| value.check_as(name, &Text));
            }
            (ListsByName, Value::Map(entries)) => {
                return entries.iter().try_for_each(|(_, value)| value.check_as(name, &Texts));
            }
            (Fields(fields), Value::Map(_)) => return self.check(fields),
            (Items(fields), Value::List(items)) => {
                return items.iter().try_for_each(|item| item.check_as(name, &Fields(fields)));
            }
            (Text, _) => "a string (quote it if it looks like a number or a boolean)",
            (Flag, _) => "true or false (without quotes)",
            (Texts | Items(_), _) => "a list",
            (TextsByName | ListsByName | Fields(_), _) => "a mapping",
        };
        Err(KubeconfigError::WrongType { line: self.line, field: name, expected })
    }
}

//! From the text of a kubeconfig to what it says: which user is the current one, and where its
//! certificate is.
//!
//! It reads as client-go does, except that some of what is legal there is refused: keys that stand
//! twice in a mapping (there the last one wins), further documents (there they are ignored), and
//! values tagged `!!binary` (there they are decoded twice). The parser knows YAML 1.2, so a few
//! texts that Go's older one refuses are read here, such as JSON with escaped slashes. It opens
//! none of the files that are named.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::tree::{Node, Value};
use super::{ClientCertificate, Cluster, Kubeconfig, KubeconfigError, Source, User};
use crate::model::Secret;

pub(super) const CERTIFICATE_DATA: &str = "client-certificate-data";
pub(super) const KEY_DATA: &str = "client-key-data";

impl Kubeconfig {
    /// What a tree says.
    pub(super) fn of(root: &Node) -> Result<Self, KubeconfigError> {
        let current = current(root)?;
        let users = users(root)?;
        let cluster = cluster(root, current.cluster)?;
        let user = User { name: current.user.to_owned(), client: client(current.entry)? };
        let others = users
            .into_iter()
            .filter(|other| other.name != user.name && other.client.certificate != Source::Missing);
        let others_with_certificates = others.map(|other| other.name).collect();
        Ok(Self {
            context: current.context.to_owned(),
            user,
            others_with_certificates,
            cluster,
            obstacle: None,
        })
    }
}

/// The text as text.
pub(super) fn utf8(text: &[u8]) -> Result<&str, KubeconfigError> {
    std::str::from_utf8(text).map_err(|error| {
        let before = text.iter().take(error.valid_up_to());
        KubeconfigError::NotUtf8 { line: 1 + before.filter(|byte| **byte == b'\n').count() as u64 }
    })
}

/// The tree of a text that is a kubeconfig by its kind.
pub(super) fn document(text: &str) -> Result<Node, KubeconfigError> {
    let root = Node::parse(text)?;
    match root.value {
        Value::Null => return Err(KubeconfigError::Empty),
        Value::Map(_) => {}
        Value::Text(_) | Value::Other(_) | Value::List(_) => {
            return Err(KubeconfigError::NotAKubeconfig);
        }
    }
    for (field, expected) in [("kind", "Config"), ("apiVersion", "v1")] {
        if root.text(field)?.is_some_and(|found| found != expected) {
            let line = root.field(field)?.map_or(root.line, |node| node.line);
            return Err(KubeconfigError::OtherKind { line, field, expected });
        }
    }
    Ok(root)
}

/// Where current-context leads.
pub(super) struct Current<'t> {
    pub context: &'t str,
    pub user: &'t str,
    /// The user's entry: a mapping or null.
    pub entry: &'t Node,
    /// The cluster's name, if the context has one.
    pub cluster: Option<&'t str>,
}

/// An entry of a user.
pub(super) struct Whose<'t> {
    pub user: &'t str,
    /// A mapping or null.
    pub entry: &'t Node,
}

impl<'t> Current<'t> {
    pub(super) fn whose(&self) -> Whose<'t> {
        Whose { user: self.user, entry: self.entry }
    }
}

/// All users of a text, whether or not a context names them. What client-go would refuse is
/// refused, but for its contexts.
pub(super) fn all_users(root: &Node) -> Result<Vec<User>, KubeconfigError> {
    Named::all(root, "contexts", "context")?;
    cluster(root, None)?;
    users(root)
}

/// The entry of the user of a name.
pub(super) fn user<'t>(root: &'t Node, name: &str) -> Result<Whose<'t>, KubeconfigError> {
    all_users(root)?;
    let users = Named::all(root, "users", "user")?;
    let found = users.iter().find(|user| user.name == name).ok_or(KubeconfigError::NoUsers)?;
    Ok(Whose { user: found.name, entry: found.entry })
}

/// Follows current-context to a user.
pub(super) fn current(root: &Node) -> Result<Current<'_>, KubeconfigError> {
    let users = Named::all(root, "users", "user")?;
    if users.is_empty() {
        return Err(KubeconfigError::NoUsers);
    }
    let name = root.text("current-context")?.ok_or(KubeconfigError::NoCurrentContext)?;
    let contexts = Named::all(root, "contexts", "context")?;
    let context = contexts.iter().find(|context| context.name == name);
    let context =
        context.ok_or_else(|| KubeconfigError::MissingContext { name: name.to_owned() })?;
    let line = context.line;
    let user = context.entry.text("user")?;
    let user =
        user.ok_or_else(|| KubeconfigError::NoUserInContext { line, context: name.to_owned() })?;
    let found = users.iter().find(|candidate| candidate.name == user);
    let found = found.ok_or_else(|| KubeconfigError::MissingUser {
        line,
        context: name.to_owned(),
        user: user.to_owned(),
    })?;
    Ok(Current { context: name, user, entry: found.entry, cluster: context.entry.text("cluster")? })
}

/// An item of one of the three lists.
struct Named<'t> {
    line: u64,
    name: &'t str,
    /// What it holds; the item itself, which is then without such fields, when it holds nothing.
    entry: &'t Node,
}

impl<'t> Named<'t> {
    /// All items of a list; names that repeat are an error in client-go as well.
    fn all(
        root: &'t Node,
        list: &'static str,
        kind: &'static str,
    ) -> Result<Vec<Self>, KubeconfigError> {
        let mut names = HashSet::new();
        let mut all = Vec::new();
        for item in root.list(list)? {
            let name = item.text("name")?.unwrap_or_default();
            if !names.insert(name) {
                return Err(KubeconfigError::DuplicateName {
                    line: item.line,
                    list,
                    name: name.to_owned(),
                });
            }
            all.push(Self { line: item.line, name, entry: item.field(kind)?.unwrap_or(&NOTHING) });
        }
        Ok(all)
    }
}

/// Stands for an entry that is not there.
static NOTHING: Node =
    Node { line: 0, defined: None, in_place: false, tag: None, value: Value::Null };

/// Every user. One that cannot be read makes client-go refuse the file, so it does here.
fn users(root: &Node) -> Result<Vec<User>, KubeconfigError> {
    let users = Named::all(root, "users", "user")?;
    users
        .iter()
        .map(|user| Ok(User { name: user.name.to_owned(), client: client(user.entry)? }))
        .collect()
}

/// The cluster of a name; every other one is read too, as client-go does.
fn cluster(root: &Node, name: Option<&str>) -> Result<Option<Cluster>, KubeconfigError> {
    let mut found = None;
    for cluster in Named::all(root, "clusters", "cluster")? {
        let server = cluster.entry.text("server")?.map(str::to_owned);
        let server_name = cluster.entry.text("tls-server-name")?.map(str::to_owned);
        let authority =
            source(cluster.entry, "certificate-authority-data", "certificate-authority")?;
        if Some(cluster.name) == name {
            found = Some(Cluster { name: cluster.name.to_owned(), server, server_name, authority });
        }
    }
    Ok(found)
}

fn client(user: &Node) -> Result<ClientCertificate, KubeconfigError> {
    Ok(ClientCertificate {
        certificate: source(user, CERTIFICATE_DATA, "client-certificate")?,
        key: source(user, KEY_DATA, "client-key")?,
    })
}

/// Data wins over a file, and empty data is none.
fn source(entry: &Node, data: &'static str, file: &'static str) -> Result<Source, KubeconfigError> {
    let file = entry.text(file)?;
    Ok(match (embedded(entry, data)?, file) {
        (Some(bytes), _) => Source::Embedded(bytes),
        (None, Some(path)) => Source::File(path.to_owned()),
        (None, None) => Source::Missing,
    })
}

/// The bytes of a value in base64.
pub(super) fn embedded(
    entry: &Node,
    field: &'static str,
) -> Result<Option<Secret>, KubeconfigError> {
    let Some(text) = entry.text(field)? else { return Ok(None) };
    let line = entry.field(field)?.map_or(entry.line, |node| node.line);
    let bytes = decode(text).ok_or(KubeconfigError::NotBase64 { line, field })?;
    Ok(Some(bytes).filter(|bytes| !bytes.expose().is_empty()))
}

/// Decodes as Go does: line breaks are skipped, spaces are not; padding is a must; loose bits at
/// the end are ignored.
fn decode(text: &str) -> Option<Secret> {
    let engine = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let mut joined = Zeroizing::new(Vec::with_capacity(text.len()));
    joined.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    // With room for all of it no half of a key is left behind by a buffer that grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    engine.decode_vec(joined.as_slice(), &mut bytes).ok()?;
    Some(Secret::new(std::mem::take(&mut *bytes)))
}

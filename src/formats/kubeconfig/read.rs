//! Reads a kubeconfig: which user is the current one, and where its certificate is.
//!
//! It reads as client-go does, except that some legal content is refused: repeated keys of a
//! mapping (client-go takes the last one), further documents (client-go ignores them), and values
//! tagged `!!binary` (client-go decodes them twice). The parser implements YAML 1.2; what Go's
//! older one refuses or reads otherwise, `go_yaml` finds. It opens none of the named files.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::schema::{CLUSTER, CONFIG, CONTEXT, USER};
use super::tree::{Value, YamlNode};
use super::{ClientCertificate, Cluster, Kubeconfig, KubeconfigError, PemSource, User};
use crate::model::Secret;

pub(super) const CERTIFICATE_DATA: &str = "client-certificate-data";
pub(super) const KEY_DATA: &str = "client-key-data";
pub(super) const AUTHORITY_DATA: &str = "certificate-authority-data";
const CERTIFICATE_FILE: &str = "client-certificate";
const KEY_FILE: &str = "client-key";
const AUTHORITY_FILE: &str = "certificate-authority";

impl Kubeconfig {
    /// Builds the content from a tree.
    pub(super) fn of(root: &YamlNode) -> Result<Self, KubeconfigError> {
        let current = current(root)?;
        let users = users(root)?;
        let cluster = cluster(root, current.cluster)?;
        refuse_twofold(current.entry, CERTIFICATE_DATA, CERTIFICATE_FILE)?;
        refuse_twofold(current.entry, KEY_DATA, KEY_FILE)?;
        refuse_twofold(current_cluster(root)?.entry, AUTHORITY_DATA, AUTHORITY_FILE)?;
        let (own, others): (Vec<_>, Vec<_>) =
            users.into_iter().partition(|user| user.name == current.user);
        let user = own.into_iter().next().ok_or(KubeconfigError::NoUsers)?;
        let others =
            others.into_iter().filter(|other| other.client.certificate != PemSource::Missing);
        let others_with_certificates = others.map(|other| other.name).collect();
        Ok(Self { context: current.context.to_owned(), user, others_with_certificates, cluster })
    }
}

/// Returns the bytes as UTF-8 text.
pub(super) fn utf8(text: &[u8]) -> Result<&str, KubeconfigError> {
    std::str::from_utf8(text).map_err(|error| {
        let before = text.iter().take(error.valid_up_to());
        KubeconfigError::NotUtf8 { line: 1 + before.filter(|byte| **byte == b'\n').count() as u64 }
    })
}

/// Parses a text whose kind is that of a kubeconfig.
pub(super) fn document(text: &str) -> Result<YamlNode, KubeconfigError> {
    let root = YamlNode::parse(text)?;
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
    root.check(CONFIG)?;
    Ok(root)
}

/// The user and cluster of current-context.
pub(super) struct Current<'t> {
    pub context: &'t str,
    pub user: &'t str,
    /// The user's entry: a mapping or null.
    pub entry: &'t YamlNode,
    /// The cluster's name, if the context has one.
    pub cluster: Option<&'t str>,
}

/// An entry of a user.
pub(super) struct UserEntry<'t> {
    pub user: &'t str,
    /// A mapping or null.
    pub entry: &'t YamlNode,
}

impl<'t> Current<'t> {
    pub(super) fn user_entry(&self) -> UserEntry<'t> {
        UserEntry { user: self.user, entry: self.entry }
    }
}

/// Returns all users of a text, whether or not a context names them. Refuses what client-go would
/// refuse, except for errors in contexts.
pub(super) fn all_users(root: &YamlNode) -> Result<Vec<User>, KubeconfigError> {
    Named::all(root, "contexts", "context")?;
    cluster(root, None)?;
    users(root)
}

/// Returns the entry of the user with this name.
pub(super) fn user<'t>(root: &'t YamlNode, name: &str) -> Result<UserEntry<'t>, KubeconfigError> {
    all_users(root)?;
    let users = Named::all(root, "users", "user")?;
    let found = users.iter().find(|user| user.name == name).ok_or(KubeconfigError::NoUsers)?;
    Ok(UserEntry { user: found.name, entry: found.entry })
}

/// Follows current-context to a user.
pub(super) fn current(root: &YamlNode) -> Result<Current<'_>, KubeconfigError> {
    let users = Named::all(root, "users", "user")?;
    let absent = |node: &YamlNode, field, otherwise| node.letter_case(field).unwrap_or(otherwise);
    if users.is_empty() {
        return Err(absent(root, "users", KubeconfigError::NoUsers));
    }
    let name = root
        .text("current-context")?
        .ok_or_else(|| absent(root, "current-context", KubeconfigError::NoCurrentContext))?;
    let contexts = Named::all(root, "contexts", "context")?;
    contexts.iter().try_for_each(|context| context.entry.check(CONTEXT))?;
    let context = contexts.iter().find(|context| context.name == name);
    let context = context.ok_or_else(|| {
        absent(root, "contexts", KubeconfigError::MissingContext { name: name.to_owned() })
    })?;
    let line = context.line;
    let user = context.entry.text("user")?;
    let user = user.ok_or_else(|| {
        let otherwise = KubeconfigError::NoUserInContext { line, context: name.to_owned() };
        absent(context.entry, "user", otherwise)
    })?;
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
    /// The entry; the item itself, which then lacks such fields, when there is none.
    entry: &'t YamlNode,
}

impl<'t> Named<'t> {
    /// Returns all items of a list; repeated names are an error in client-go as well.
    fn all(
        root: &'t YamlNode,
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
            all.push(Self {
                line: item.line,
                name,
                entry: item.field(kind)?.unwrap_or(&EMPTY_ENTRY),
            });
        }
        Ok(all)
    }
}

/// The entry of an item without one.
static EMPTY_ENTRY: YamlNode =
    YamlNode { line: 0, defined: None, in_place: false, tag: None, value: Value::Null };

/// Reads every user. Client-go refuses the file when one of them cannot be read, so this does too.
fn users(root: &YamlNode) -> Result<Vec<User>, KubeconfigError> {
    let users = Named::all(root, "users", "user")?;
    users
        .iter()
        .map(|user| Ok(User { name: user.name.to_owned(), client: client(user.entry)? }))
        .collect()
}

/// Returns the cluster of this name; reads every other one too, as client-go does.
fn cluster(root: &YamlNode, name: Option<&str>) -> Result<Option<Cluster>, KubeconfigError> {
    let mut found = None;
    for cluster in Named::all(root, "clusters", "cluster")? {
        let server = cluster.entry.text("server")?.map(str::to_owned);
        let server_name = cluster.entry.text("tls-server-name")?.map(str::to_owned);
        let proxied = cluster.entry.text("proxy-url")?.is_some_and(|url| !url.is_empty());
        let authority = source(cluster.entry, AUTHORITY_DATA, AUTHORITY_FILE)?;
        cluster.entry.check(CLUSTER)?;
        if Some(cluster.name) == name {
            let name = cluster.name.to_owned();
            found = Some(Cluster { name, server, server_name, proxied, authority });
        }
    }
    Ok(found)
}

/// Returns the entry of the cluster that current-context names, in the form of a user's.
pub(super) fn current_cluster(root: &YamlNode) -> Result<UserEntry<'_>, KubeconfigError> {
    let name = current(root)?.cluster.unwrap_or_default();
    let clusters = Named::all(root, "clusters", "cluster")?;
    let found = clusters.into_iter().find(|cluster| cluster.name == name);
    Ok(UserEntry { user: name, entry: found.map_or(&EMPTY_ENTRY, |cluster| cluster.entry) })
}

/// Returns the entry of the cluster that a node which joins uses, in the form of a user's: the one
/// without a name, or else that of current-context (kubeadm, `GetClusterFromKubeConfig`).
pub(super) fn discovery_cluster(root: &YamlNode) -> Result<UserEntry<'_>, KubeconfigError> {
    all_users(root)?;
    let clusters = Named::all(root, "clusters", "cluster")?;
    let Some(cluster) = clusters.into_iter().find(|cluster| cluster.name.is_empty()) else {
        Kubeconfig::of(root)?;
        return current_cluster(root);
    };
    refuse_twofold(cluster.entry, AUTHORITY_DATA, AUTHORITY_FILE)?;
    Ok(UserEntry { user: cluster.name, entry: cluster.entry })
}

fn client(user: &YamlNode) -> Result<ClientCertificate, KubeconfigError> {
    let certificate = source(user, CERTIFICATE_DATA, CERTIFICATE_FILE)?;
    let key = source(user, KEY_DATA, KEY_FILE)?;
    user.check(USER)?;
    let of_certificate = [CERTIFICATE_DATA, CERTIFICATE_FILE];
    let of_key = [KEY_DATA, KEY_FILE];
    let absent = [(&certificate, of_certificate), (&key, of_key)];
    let absent = absent.into_iter().filter(|(half, _)| **half == PemSource::Missing);
    let letter_case =
        absent.flat_map(|(_, fields)| fields).find_map(|field| user.letter_case(field));
    Ok(ClientCertificate { certificate, key, letter_case, instead: instead(user)? })
}

/// The field by which client-go authenticates a user who has no certificate. API servers since 1.19
/// know no passwords.
fn instead(user: &YamlNode) -> Result<Option<&'static str>, KubeconfigError> {
    for field in ["token", "tokenFile"] {
        if user.text(field)?.is_some() {
            return Ok(Some(field));
        }
    }
    for field in ["exec", "auth-provider"] {
        if user.field(field)?.is_some() {
            return Ok(Some(field));
        }
    }
    Ok(None)
}

/// Refuses data and a file for the same thing. client-go reads that, data first, and then refuses
/// to use the entry (`ConfirmUsable`), which is that of the current context.
fn refuse_twofold(
    entry: &YamlNode,
    data: &'static str,
    file: &'static str,
) -> Result<(), KubeconfigError> {
    if entry.text(data)?.is_none() || entry.text(file)?.is_none() {
        return Ok(());
    }
    let line = entry.field(file)?.map_or(entry.line, |node| node.line);
    Err(KubeconfigError::Twofold { line, data, file })
}

/// Data wins over a file, and empty data counts as none.
fn source(
    entry: &YamlNode,
    data: &'static str,
    file: &'static str,
) -> Result<PemSource, KubeconfigError> {
    let file = entry.text(file)?;
    Ok(match (embedded(entry, data)?, file) {
        (Some(bytes), _) => PemSource::Embedded(bytes),
        (None, Some(path)) => PemSource::File(path.to_owned()),
        (None, None) => PemSource::Missing,
    })
}

/// The bytes of a value in base64.
pub(super) fn embedded(
    entry: &YamlNode,
    field: &'static str,
) -> Result<Option<Secret>, KubeconfigError> {
    let Some(text) = entry.text(field)? else { return Ok(None) };
    let line = entry.field(field)?.map_or(entry.line, |node| node.line);
    let bytes = decode(text).ok_or(KubeconfigError::NotBase64 { line, field })?;
    Ok(Some(bytes).filter(|bytes| !bytes.expose().is_empty()))
}

/// Decodes as Go does: line breaks are skipped, spaces are not, padding is required, and loose bits
/// at the end are ignored.
fn decode(text: &str) -> Option<Secret> {
    let engine = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let mut joined = Zeroizing::new(Vec::with_capacity(text.len()));
    joined.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    // Reserves the whole length, so that a growing buffer leaves no part of a key in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    engine.decode_vec(joined.as_slice(), &mut bytes).ok()?;
    Some(Secret::new(std::mem::take(&mut *bytes)))
}

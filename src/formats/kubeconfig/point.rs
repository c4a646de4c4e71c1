//! Replaces an embedded client certificate and key in a kubeconfig by the name of a file, and
//! leaves every other byte as it is.
//!
//! As in `splice`, nothing is guessed: the positions of the four texts that the parser reports are
//! compared with the text there, and the result is read again and compared with the original.

use std::ops::Range;
use std::path::Path;

use super::read::{self, CERTIFICATE_DATA, KEY_DATA};
use super::splice::refuse_ambiguous_lines;
use super::tree::{Value, YamlNode};
use super::{Kubeconfig, Obstacle, PemSource, SpliceError};
use crate::model::Secret;

const CERTIFICATE: &str = "client-certificate";
const KEY: &str = "client-key";

/// Returns the text with one file named as client certificate and key of the current user, where
/// both are embedded.
///
/// # Errors
/// [`SpliceError`], when the text can't be read, when one of the two is not embedded, or when it is
/// not certain that nothing else changes.
pub fn point(text: &[u8], file: &Path) -> Result<Secret, SpliceError> {
    let text = read::utf8(text)?;
    refuse_ambiguous_lines(text)?;
    let root = read::document(text)?;
    let before = Kubeconfig::of(&root)?;
    let shown = file.to_str().filter(|name| is_plain(name)).ok_or(SpliceError::NotTheSame)?;
    let mut edits = Vec::new();
    for (data, name) in [(CERTIFICATE_DATA, CERTIFICATE), (KEY_DATA, KEY)] {
        edits.extend(edits_for(text, &root, data, name, shown)?);
    }
    let after = Secret::new(edited(text, edits).into_bytes());
    if differs_only_in_file(&before, &root, after.expose(), shown) {
        Ok(after)
    } else {
        Err(SpliceError::NotTheSame)
    }
}

/// Whether a text means the same in YAML and JSON, quoted or not.
fn is_plain(name: &str) -> bool {
    name.starts_with('/')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

type Edit<'n> = (Range<usize>, &'n str);

/// Returns the edits for the name of the field and for its value; the quotes of both are kept.
fn edits_for<'n>(
    text: &str,
    root: &YamlNode,
    data: &'static str,
    name: &'n str,
    file: &'n str,
) -> Result<[Edit<'n>; 2], SpliceError> {
    let current = read::current(root)?;
    let missing = || SpliceError::NotEmbedded { user: current.user.to_owned(), field: data };
    read::embedded(current.entry, data)?.ok_or_else(missing)?;
    let Value::Map(entries) = &current.entry.value else { return Err(missing()) };
    let is_it = |key: &YamlNode| matches!(&key.value, Value::Text(text) if text.as_str() == data);
    let (key, value) = entries.iter().find(|(key, _)| is_it(key)).ok_or_else(missing)?;
    let place = |node: &YamlNode| {
        let refused = |obstacle| SpliceError::Refused { line: node.line, field: data, obstacle };
        let defined = node.defined.clone().ok_or(refused(Obstacle::Escaped))?;
        if !node.in_place || root.uses_of(&defined) != 1 {
            return Err(refused(Obstacle::Shared));
        }
        if node.tag.is_some() {
            return Err(refused(Obstacle::Tagged));
        }
        literal_range(text, &defined, node).ok_or(refused(Obstacle::Escaped))
    };
    Ok([(place(key)?, name), (place(value)?, file)])
}

/// Returns the bytes of a scalar without its quotes and the surrounding space, if the text there is
/// what was read. A block scalar contains a line break and is refused: its header would remain.
fn literal_range(text: &str, scalar: &Range<usize>, node: &YamlNode) -> Option<Range<usize>> {
    let Value::Text(value) = &node.value else { return None };
    let whole = text.get(scalar.clone())?;
    let at = whole.find(value.as_str())?;
    let around = format!("{}{}", whole.get(..at)?, whole.get(at + value.len()..)?);
    let alone = matches!(around.trim(), "" | "\"\"" | "''")
        && !around.contains('\n')
        && !value.contains('\n');
    alone.then(|| scalar.start + at..scalar.start + at + value.len())
}

fn edited(text: &str, mut edits: Vec<Edit<'_>>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let (mut after, mut rest) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        after += text.get(rest..range.start).unwrap_or_default();
        after += new;
        rest = range.end;
    }
    after + text.get(rest..).unwrap_or_default()
}

/// Whether the changed text names the file and has the same content in everything else.
fn differs_only_in_file(before: &Kubeconfig, tree: &YamlNode, after: &[u8], file: &str) -> bool {
    let Ok((root, after)) = read::utf8(after)
        .and_then(read::document)
        .and_then(|root| Kubeconfig::of(&root).map(|config| (root, config)))
    else {
        return false;
    };
    let named = PemSource::File(file.to_owned());
    let client = &after.user.client;
    let same = (&before.context, &before.user.name, &before.cluster)
        == (&after.context, &after.user.name, &after.cluster)
        && before.others_with_certificates == after.others_with_certificates;
    same && client.certificate == named
        && client.key == named
        && count_differences(tree, &root) == 4
}

/// Counts the texts that differ between two trees of the same shape; `usize::MAX` where the shape
/// differs.
fn count_differences(one: &YamlNode, other: &YamlNode) -> usize {
    let sum = |parts: &mut dyn Iterator<Item = usize>| parts.fold(0, usize::saturating_add);
    match (&one.value, &other.value) {
        _ if one.tag != other.tag => usize::MAX,
        (Value::List(one), Value::List(other)) if one.len() == other.len() => {
            sum(&mut one.iter().zip(other).map(|(one, other)| count_differences(one, other)))
        }
        (Value::Map(one), Value::Map(other)) if one.len() == other.len() => {
            let both = one.iter().zip(other);
            sum(&mut both.map(|(one, other)| {
                count_differences(&one.0, &other.0)
                    .saturating_add(count_differences(&one.1, &other.1))
            }))
        }
        (Value::Text(_), Value::Text(_)) => usize::from(one != other),
        _ if one == other => 0,
        _ => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

    fn point_json(text: &str) -> Result<String, String> {
        let after = point(text.as_bytes(), Path::new(FILE)).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(after.expose().to_vec()).unwrap())
    }

    fn text(user: &str) -> String {
        format!(
            "# mine\ncurrent-context: c\ncontexts: [{{name: c, context: {{user: u}}}}]\nusers:\n- \
             name: u\n  user:\n{user}extra: 1 # kept\n"
        )
    }

    #[test]
    fn kubeadm_file_points_to_the_pem_and_is_otherwise_unchanged() {
        for tree in ["kubeadm-1.20-rsa2048", "kubeadm-1.36-ecdsa-p256"] {
            let path = format!(
                "{}/tests/fixtures/{tree}/etc/kubernetes/kubelet.conf",
                env!("CARGO_MANIFEST_DIR")
            );
            let before = std::fs::read_to_string(path).unwrap();
            let after = point_json(&before).unwrap();
            let changed: Vec<_> = before
                .lines()
                .zip(after.lines())
                .filter(|(before, after)| before != after)
                .collect();
            assert_eq!(changed.len(), 2, "{tree}");
            assert_eq!(changed[0].1, format!("    client-certificate: {FILE}"));
            assert_eq!(changed[1].1, format!("    client-key: {FILE}"));
            assert_eq!(before.lines().count(), after.lines().count());
            let again = point_json(&after).unwrap_err();
            assert!(again.contains("has no embedded client-certificate-data"), "{again}");
        }
    }

    #[test]
    fn quotes_and_order_are_kept() {
        let after = point_json(&text(
            "    'client-key-data': \"ZGVm\"\n    client-certificate-data:   \
            YWJj  # here\n    a: b\n",
        ))
        .unwrap();
        let user = format!(
            "    'client-key': \"{FILE}\"\n    client-certificate:   {FILE}  # here\n    a: b\n"
        );
        assert_eq!(after, text(&user));
        let json = concat!(
            r#"{"current-context":"c","contexts":[{"name":"c","context":{"user":"u"}}],"#,
            r#""users":[{"name":"u","user":"#,
            r#"{"client-certificate-data":"YWJj","client-key-data":"ZGVm"}}]}"#
        );
        let after = point_json(json).unwrap();
        assert!(
            after.contains(&format!(r#"{{"client-certificate":"{FILE}","client-key":"{FILE}"}}"#)),
            "{after}"
        );
    }

    #[test]
    fn uncertain_text_is_refused() {
        let block = "    client-certificate-data: |\n      YWJj\n    client-key-data: ZGVm\n";
        let tagged = "    client-certificate-data: !!str YWJj\n    client-key-data: ZGVm\n";
        let anchored =
            "    client-certificate-data: &a YWJj\n    client-key-data: ZGVm\n    other: *a\n";
        // Data wins over a file, so both may be present; replacing one would then give two entries
        // of one name.
        let both = "    client-certificate-data: YWJj\n    client-certificate: /a\n    \
            client-key-data: ZGVm\n";
        let half = "    client-certificate-data: YWJj\n    client-key: /a\n";
        for user in [block, tagged, anchored, both, half] {
            assert!(point_json(&text(user)).is_err(), "{user}");
        }
        let whole = text("    client-certificate-data: YWJj\n    client-key-data: ZGVm\n");
        assert!(point(whole.as_bytes(), Path::new("/with space")).is_err());
    }
}

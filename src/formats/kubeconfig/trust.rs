//! Writes other CA certificates into the cluster of the current context, and leaves every other
//! byte as it is. The checks are those of `splice`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::read::{self, AUTHORITY_DATA};
use super::splice::{ValueSpan, equal_except_for, refuse_ambiguous_lines};
use super::tree::YamlNode;
use super::{Kubeconfig, SpliceError};
use crate::model::Secret;

/// Returns the text with the CA certificates of the current cluster replaced, where they are
/// embedded.
///
/// # Errors
/// [`SpliceError`], when the text can't be read, when no CA certificates are embedded, or when it
/// is not certain that nothing else changes.
pub fn splice_authority(text: &[u8], pem: &[u8]) -> Result<Secret, SpliceError> {
    let text = read::utf8(text)?;
    let (root, before) = parsed(text)?;
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    let (head, tail) = (part(0..before.base64.start), part(before.base64.end..text.len()));
    let spliced = Secret::new([head, &STANDARD.encode(pem), tail].concat().into_bytes());
    let changed = || SpliceError::NotTheSame;
    let after = std::str::from_utf8(spliced.expose()).map_err(|_| changed())?;
    let (new_root, new) = parsed(after).map_err(|_| changed())?;
    let is_same = new.bytes.expose() == pem
        && after.get(..new.base64.start) == Some(head)
        && after.get(new.base64.end..) == Some(tail)
        && equal_except_for(&[(&before.node, &new.node)], &root, &new_root);
    if is_same { Ok(spliced) } else { Err(changed()) }
}

fn parsed(text: &str) -> Result<(YamlNode, ValueSpan), SpliceError> {
    refuse_ambiguous_lines(text)?;
    let root = read::document(text)?;
    // A file that a component would refuse for another reason is left as it is.
    Kubeconfig::of(&root)?;
    let entry = read::current_cluster(&root)?;
    let span = ValueSpan::find(text, &root, &entry, AUTHORITY_DATA)?;
    Ok((root, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cluster: &str) -> String {
        let context = "{name: c, context: {user: u, cluster: k}}";
        let other = "- name: other\n  cluster: {certificate-authority-data: YWJj}\n";
        format!(
            "# mine\ncurrent-context: c\ncontexts: [{context}]\nclusters:\n{other}- name: k\n  \
             cluster:\n{cluster}    server: https://a\nusers:\n- name: u\n  user: {{token: t}}\n"
        )
    }

    #[test]
    fn only_the_current_cluster_changes() {
        for quote in ["", "'", "\""] {
            let cluster =
                |data| format!("    certificate-authority-data: {quote}{data}{quote} # a\n");
            let before = text(&cluster("ZGVm"));
            let after = splice_authority(before.as_bytes(), b"new").unwrap();
            assert_eq!(String::from_utf8_lossy(after.expose()), text(&cluster("bmV3")));
        }
    }

    #[test]
    fn kubeconfig_of_kubeadm_keeps_everything_else() {
        for tree in ["kubeadm-1.20-rsa2048", "kubeadm-1.36-ecdsa-p256"] {
            let dir = format!("{}/tests/fixtures/{tree}/etc", env!("CARGO_MANIFEST_DIR"));
            let before = std::fs::read_to_string(format!("{dir}/kubernetes/admin.conf")).unwrap();
            let after = splice_authority(before.as_bytes(), b"other").unwrap();
            let after = String::from_utf8(after.expose().to_vec()).unwrap();
            let changed: Vec<_> = before
                .lines()
                .zip(after.lines())
                .filter(|(before, after)| before != after)
                .map(|(_, after)| after)
                .collect();
            let data = STANDARD.encode("other");
            assert_eq!(changed, [format!("    certificate-authority-data: {data}")]);
        }
    }

    #[test]
    fn uncertain_text_is_refused() {
        for cluster in [
            "    certificate-authority: ca.crt\n",
            "    certificate-authority-data: &a ZGVm\n    other: *a\n",
            "    certificate-authority-data: !!str ZGVm\n",
            "",
        ] {
            assert!(splice_authority(text(cluster).as_bytes(), b"new").is_err(), "{cluster}");
        }
    }
}

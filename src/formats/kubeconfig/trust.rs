//! Writes other CA certificates into one cluster of a kubeconfig, and leaves every other byte as it
//! is. The checks are those of `splice`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::read::{self, AUTHORITY_DATA, UserEntry};
use super::splice::{ValueSpan, equal_except_for, refuse_ambiguous_lines};
use super::tree::YamlNode;
use super::{Kubeconfig, KubeconfigError, SpliceError};
use crate::model::Secret;

/// Finds the cluster whose CA certificates are meant.
type Choice = for<'t> fn(&'t YamlNode) -> Result<UserEntry<'t>, KubeconfigError>;

/// Returns the text with the CA certificates of the current cluster replaced, where they are
/// embedded.
///
/// # Errors
/// [`SpliceError`], when the text can't be read, when no CA certificates are embedded, or when it
/// is not certain that nothing else changes.
pub fn splice_authority(text: &[u8], pem: &[u8]) -> Result<Secret, SpliceError> {
    spliced(text, pem, current_cluster)
}

/// Returns the CA certificates by which a node that joins verifies the API server: those of the
/// kubeconfig in the ConfigMap `cluster-info`, which has no user. Its cluster is the one without a
/// name, and where there is none, that of the current context, as for kubeadm.
///
/// # Errors
/// [`SpliceError`], when the text can't be read, or when they could not be replaced.
pub fn discovery_authority(text: &[u8]) -> Result<Vec<u8>, SpliceError> {
    let (_, found) = parsed(read::utf8(text)?, read::discovery_cluster)?;
    Ok(found.bytes.expose().to_vec())
}

/// Returns the text with the CA certificates replaced that [`discovery_authority`] finds.
///
/// # Errors
/// As [`splice_authority`].
pub fn splice_discovery_authority(text: &[u8], pem: &[u8]) -> Result<Secret, SpliceError> {
    spliced(text, pem, read::discovery_cluster)
}

fn current_cluster(root: &YamlNode) -> Result<UserEntry<'_>, KubeconfigError> {
    // A file that a component would refuse for another reason is left as it is.
    Kubeconfig::of(root)?;
    read::current_cluster(root)
}

fn spliced(text: &[u8], pem: &[u8], choice: Choice) -> Result<Secret, SpliceError> {
    let text = read::utf8(text)?;
    let (root, before) = parsed(text, choice)?;
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    let (head, tail) = (part(0..before.base64.start), part(before.base64.end..text.len()));
    let spliced = Secret::new([head, &STANDARD.encode(pem), tail].concat().into_bytes());
    let changed = || SpliceError::NotTheSame;
    let after = std::str::from_utf8(spliced.expose()).map_err(|_| changed())?;
    let (new_root, new) = parsed(after, choice).map_err(|_| changed())?;
    let is_same = new.bytes.expose() == pem
        && after.get(..new.base64.start) == Some(head)
        && after.get(new.base64.end..) == Some(tail)
        && equal_except_for(&[(&before.node, &new.node)], &root, &new_root);
    if is_same { Ok(spliced) } else { Err(changed()) }
}

fn parsed(text: &str, choice: Choice) -> Result<(YamlNode, ValueSpan), SpliceError> {
    refuse_ambiguous_lines(text)?;
    let root = read::document(text)?;
    let entry = choice(&root)?;
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

    /// As kubeadm writes it, without and with the fields that newer versions left out.
    fn cluster_info(data: &str) -> String {
        format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {data}\n    \
             server: https://10.0.0.1:6443\n  name: \"\"\ncontexts: null\ncurrent-context: \
             \"\"\nkind: Config\npreferences: {{}}\nusers: null\n"
        )
    }

    #[test]
    fn cluster_info_has_no_user_and_keeps_everything_else() {
        for left_out in ["", "preferences: {}\n", "contexts: null\n"] {
            let make = |data: &str| cluster_info(data).replace(left_out, "");
            let before = make("ZGVm");
            assert_eq!(discovery_authority(before.as_bytes()), Ok(b"def".to_vec()));
            let after = splice_discovery_authority(before.as_bytes(), b"new").unwrap();
            assert_eq!(String::from_utf8_lossy(after.expose()), make("bmV3"));
            assert!(splice_authority(before.as_bytes(), b"new").is_err());
        }
    }

    #[test]
    fn named_cluster_is_that_of_current_context() {
        let cluster = |data| format!("    certificate-authority-data: {data}\n");
        let before = text(&cluster("ZGVm"));
        assert_eq!(discovery_authority(before.as_bytes()), Ok(b"def".to_vec()));
        let after = splice_discovery_authority(before.as_bytes(), b"new").unwrap();
        assert_eq!(String::from_utf8_lossy(after.expose()), text(&cluster("bmV3")));
    }

    #[test]
    fn uncertain_cluster_info_is_refused() {
        let good = cluster_info("ZGVm");
        for (from, to) in [
            ("ZGVm", "Z"),
            ("ZGVm", "ZGVm\n    certificate-authority: ca.crt"),
            ("kind: Config", "kind: Other"),
            ("certificate-authority-data", "certificate-authority"),
            ("clusters:", "clusters: []\nothers:"),
            ("ZGVm", "&a ZGVm\n    x: *a"),
        ] {
            let text = good.replace(from, to);
            assert!(splice_discovery_authority(text.as_bytes(), b"new").is_err(), "{text}");
        }
        assert!(discovery_authority(b"\xff").is_err());
    }
}

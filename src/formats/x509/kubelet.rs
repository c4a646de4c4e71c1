//! The content of kubelet's client certificate where there is no old one to copy: the form in which
//! the cluster's own signer for kubelets issues it (`kubernetes.io/kube-apiserver-client-kubelet`).

use super::{Certificate, IssueError, template};
use crate::model::{Subject, Usage};

/// The prefix of a node's name in its certificate.
pub const NODE_PREFIX: &str = "system:node:";

/// The group of all nodes.
pub const NODES: &str = "system:nodes";

/// Returns a template for the certificate of kubelet on this node, to re-issue from. Its key, of
/// the kind that kubelet generates, is discarded, it is not signed, and it was never valid.
///
/// # Errors
/// When the library fails, which should not happen.
pub fn kubelet_template(node: &str) -> Result<Certificate, IssueError> {
    template(&kubelet_subject(node), &[Usage::Client], &[])
}

/// The subject of kubelet's certificate on this node.
pub(super) fn kubelet_subject(node: &str) -> Subject {
    Subject { common_name: format!("{NODE_PREFIX}{node}"), organization: Some(NODES.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ECDSA_TREE, RSA_TREE, leaves};
    use super::*;

    #[test]
    fn kubelet_template_is_for_kubeadms_subject() {
        for tree in [RSA_TREE, ECDSA_TREE] {
            let kubeadms =
                leaves(tree).into_iter().find(|leaf| leaf.name == "kubelet").unwrap().certificate;
            let parts = kubeadms.subject.parts();
            let (_, node) = parts.iter().find(|(kind, _)| *kind == "CN").unwrap();
            let template = kubelet_template(node.strip_prefix(NODE_PREFIX).unwrap()).unwrap();
            assert_eq!(template.subject, kubeadms.subject, "{tree}");
            assert_eq!(template.extended_key_usage, kubeadms.extended_key_usage, "{tree}");
        }
    }
}

//! The flags of kube-controller-manager for signing.

use super::Pod;

/// The flags by which kube-controller-manager signs the certificates of one usage with files of
/// their own. Where one of them is set, it accepts neither `--cluster-signing-cert-file` nor
/// `--cluster-signing-key-file`.
pub const PER_USAGE_SIGNING_FLAGS: [&str; 8] = [
    "cluster-signing-kubelet-serving-cert-file",
    "cluster-signing-kubelet-serving-key-file",
    "cluster-signing-kubelet-client-cert-file",
    "cluster-signing-kubelet-client-key-file",
    "cluster-signing-kube-apiserver-client-cert-file",
    "cluster-signing-kube-apiserver-client-key-file",
    "cluster-signing-legacy-unknown-cert-file",
    "cluster-signing-legacy-unknown-key-file",
];

impl Pod {
    /// Those of [`PER_USAGE_SIGNING_FLAGS`] that the pod has, with or without a value.
    #[must_use]
    pub fn per_usage_signing_flags(&self) -> Vec<&'static str> {
        let has = |name: &&str| !self.program.flag(name).is_empty();
        PER_USAGE_SIGNING_FLAGS.into_iter().filter(has).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_one_usage_are_found() {
        let text = include_str!(
            "../../../tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes/manifests/\
             kube-controller-manager.yaml"
        );
        assert!(Pod::parse(text).unwrap().per_usage_signing_flags().is_empty());
        for flag in PER_USAGE_SIGNING_FLAGS {
            for form in [format!("--{flag}=/a"), format!("--{flag}\n    - /a")] {
                let first = format!("    - {form}\n    - --bind-address");
                let with = text.replace("    - --bind-address", &first);
                assert_eq!(Pod::parse(&with).unwrap().per_usage_signing_flags(), [flag]);
            }
        }
    }
}

//! A new kubeconfig, as kubeadm writes it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

use crate::model::Secret;

/// Returns a kubeconfig of one user that embeds certificate and key. Server and user have to be
/// plain YAML; the rest is PEM.
#[must_use]
pub fn whole(authority: &str, server: &str, user: &str, certificate: &str, key: &Secret) -> Secret {
    let key = Zeroizing::new(BASE64_STANDARD.encode(key.expose()));
    let (authority, certificate) =
        (BASE64_STANDARD.encode(authority), BASE64_STANDARD.encode(certificate));
    let text = format!(
        "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: {server}
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: {user}
  name: {user}@kubernetes
current-context: {user}@kubernetes
kind: Config
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {}
",
        key.as_str()
    );
    Secret::new(text.into_bytes())
}

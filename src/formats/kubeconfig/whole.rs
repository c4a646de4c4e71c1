//! A new kubeconfig, as kubeadm writes it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

use crate::model::Secret;

/// Returns a kubeconfig of one user that embeds certificate and key. Server and user have to be
/// plain YAML; the rest is PEM.
#[must_use]
pub fn whole(authority: &str, server: &str, user: &str, certificate: &str, key: &Secret) -> Secret {
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(key.expose()));
    let certificate = BASE64_STANDARD.encode(certificate);
    let user_entry = Zeroizing::new(format!(
        "    client-certificate-data: {certificate}\n    client-key-data: {}\n",
        encoded.as_str()
    ));
    Secret::new(with_user(authority, server, user, &user_entry).into_bytes())
}

/// Returns a kubeconfig of one user. `entry` has the lines of the user's entry.
#[must_use]
pub fn with_user(authority: &str, server: &str, user: &str, entry: &str) -> String {
    let authority = BASE64_STANDARD.encode(authority);
    format!(
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
{entry}"
    )
}

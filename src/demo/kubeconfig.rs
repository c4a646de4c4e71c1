//! Kubeconfigs as kubeadm writes them.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::parts::Parts;
use crate::formats::kubeconfig::with_user;
use crate::model::Secret;

/// Returns a kubeconfig that embeds certificate and key, as far as they are present.
pub(super) fn embedding(authority: &str, server: &str, user: &str, parts: &Parts) -> String {
    let line =
        |key: &str, content: &[u8]| format!("    {key}: {}\n", BASE64_STANDARD.encode(content));
    let certificate = parts
        .certificate
        .as_ref()
        .map(|content| line("client-certificate-data", content.as_bytes()));
    let key =
        parts.key.as_ref().map(Secret::expose).map(|content| line("client-key-data", content));
    with_user(
        authority,
        server,
        user,
        &[certificate, key].into_iter().flatten().collect::<String>(),
    )
}

/// Returns a kubeconfig that names a file with both.
pub(super) fn referring(authority: &str, server: &str, user: &str, file: &str) -> String {
    with_user(
        authority,
        server,
        user,
        &format!("    client-certificate: {file}\n    client-key: {file}\n"),
    )
}

//! A credential as a client uses it: the server that a kubeconfig names, the trust in that server,
//! and the client's TLS identity.

use super::{Files, Stored};
use crate::drivers::http::Trust;
use crate::drivers::tls::ClientIdentity;
use crate::formats::kubeconfig::{Kubeconfig, KubeconfigError, PemSource, current_token};
use crate::formats::x509::{Certificate, PrivateKey, certificates};
use crate::model::{AbsolutePath, Secret};
use crate::sys::Root;

/// The server that a kubeconfig names.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its URL, as it is written there, without a slash at its end.
    pub url: String,
    /// The certificates that its own certificate has to be signed by.
    pub trust: Trust,
    /// Whether its clients connect to it through a proxy, which is not done here.
    pub proxied: bool,
}

/// The current user of a kubeconfig, and the server.
#[derive(Debug)]
pub struct CurrentUser {
    /// How the user logs in.
    pub login: UserLogin,
    /// The name that the server's certificate has to be for, where that is not the URL's host.
    pub server_name: Option<String>,
}

/// How the current user of a kubeconfig logs in to its server.
#[derive(Debug)]
pub enum UserLogin {
    /// With a client certificate.
    Certificate,
    /// With this token.
    Token(Secret),
}

/// Reads the server of a kubeconfig's current cluster.
///
/// # Errors
/// A text that names the file and the reason.
pub fn server(root: &Root, file: &AbsolutePath) -> Result<Server, String> {
    let text = Files::read(root, file)
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("{file} does not exist"))?;
    let config = Kubeconfig::parse(text.expose()).map_err(|e| format!("{file}: {e}"))?;
    let cluster = config.cluster.ok_or_else(|| format!("{file} names no cluster"))?;
    let url = cluster.server.ok_or_else(|| format!("{file} names no server"))?;
    let authority = match cluster.authority {
        PemSource::Embedded(bytes) => Some(bytes),
        PemSource::File(name) => {
            let authority = file.sibling(name).map_err(|e| e.to_string())?;
            Files::read(root, &authority).map_err(|e| e.to_string())?
        }
        PemSource::Missing => None,
    };
    let authority = authority
        .ok_or_else(|| format!("{file} has no certificate-authority to verify its server by"))?;
    let authorities = certificates(authority.expose())
        .map_err(|e| format!("{file}: certificate-authority: {e}"))?;
    Ok(Server {
        url: url.trim_end_matches('/').to_owned(),
        trust: Trust::Authorities(authorities),
        proxied: cluster.proxied,
    })
}

/// Reads how the current user of a kubeconfig logs in. Nothing is run for it: a plug-in is refused.
///
/// # Errors
/// A text that names the file and the reason.
pub fn current_user(root: &Root, file: &AbsolutePath) -> Result<CurrentUser, String> {
    let failed = |e: KubeconfigError| format!("{file}: {e}");
    let text = Files::read(root, file)
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("{file} does not exist"))?;
    let Kubeconfig { user, cluster, .. } = Kubeconfig::parse(text.expose()).map_err(failed)?;
    let server_name = cluster.and_then(|cluster| cluster.server_name);
    if user.client.certificate != PemSource::Missing {
        return Ok(CurrentUser { login: UserLogin::Certificate, server_name });
    }
    if let Some(token) = current_token(text.expose()).map_err(failed)? {
        return Ok(CurrentUser { login: UserLogin::Token(token), server_name });
    }
    let instead = user.client.instead.unwrap_or("nothing that is supported");
    Err(format!(
        "{file}: the user {:?} logs in with {instead}; use a kubeconfig with a client certificate \
         or a token in it",
        user.name
    ))
}

/// Makes a client identity of a certificate, the chain behind it, and its key.
///
/// # Errors
/// When TLS can't use them.
pub fn identity(
    certificate: &Certificate,
    chain: &[Certificate],
    key: &PrivateKey,
) -> Result<ClientIdentity, String> {
    let all: Vec<_> = [certificate].into_iter().chain(chain).cloned().collect();
    ClientIdentity::new(&all, key).map_err(|e| e.to_string())
}

/// Makes a client identity of new contents of a credential's files, with the certificates behind
/// its own: the server may trust only a CA further up. The key is the one that was read from them.
///
/// # Errors
/// When the contents do not hold a usable certificate.
pub fn identity_in(
    stored: &Stored,
    contents: &[Secret],
    key: &PrivateKey,
) -> Result<ClientIdentity, String> {
    ClientIdentity::new(&stored.chain_in(contents), key).map_err(|e| e.to_string())
}

/// Makes a client identity of a stored credential.
///
/// # Errors
/// When a file is missing, or does not hold a usable certificate and key.
pub fn identity_of(stored: &Stored) -> Result<ClientIdentity, String> {
    let (contents, key) = read_back(stored)?;
    identity_in(stored, &contents, &key)
}

/// Returns a stored credential as a client of another library takes it: the certificate with the
/// chain behind it, and the key, in PEM.
///
/// # Errors
/// When a file is missing, or does not hold a usable certificate and key.
pub fn pem_identity(stored: &Stored) -> Result<(String, Secret), String> {
    let (contents, key) = read_back(stored)?;
    let chain = stored.chain_in(&contents).iter().map(Certificate::to_pem).collect();
    Ok((chain, key.to_pem().map_err(|e| e.to_string())?))
}

/// Reads what the files of a stored credential hold.
fn read_back(stored: &Stored) -> Result<(Vec<Secret>, PrivateKey), String> {
    let contents =
        stored.form.sources().map(|source| source.content.clone()).collect::<Option<Vec<Secret>>>();
    let contents = contents.ok_or("one of its files is missing")?;
    let (_, key) = stored.read_back(&contents).map_err(|e| e.to_string())?;
    Ok((contents, key))
}

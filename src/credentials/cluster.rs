//! The CA certificates by which a kubeconfig verifies its server, and their replacement when
//! credentials get another issuer.

use super::{ComposeError, Files, referenced};
use crate::formats::kubeconfig::{self, Kubeconfig, PemSource};
use crate::formats::x509::{Certificate, certificates};
use crate::model::{AbsolutePath, Secret, TrustSource};

/// What a kubeconfig says about its server.
#[derive(Debug)]
pub struct Cluster {
    /// The server's URL.
    pub server: Option<String>,
    /// Where the CA certificates are.
    pub source: TrustSource,
    /// The CA certificates; empty where there are none. Else why they can't be read.
    pub certificates: Result<Vec<Certificate>, String>,
}

/// Reads the cluster of a kubeconfig; `None` where it names no cluster, and where there is no
/// kubeconfig that can be read, which is said of its credential.
#[must_use]
pub fn cluster(files: &dyn Files, kubeconfig: &AbsolutePath) -> Option<Cluster> {
    let content = files.read(kubeconfig).ok()??;
    let examined = files.examine_kubeconfig(&content);
    let cluster = examined.as_ref().as_ref().ok()?.content.cluster.as_ref()?;
    let parsed = |content: &Secret| certificates(content.expose()).map_err(|e| e.to_string());
    let (source, certificates) = match &cluster.authority {
        PemSource::Missing => (TrustSource::None, Ok(Vec::new())),
        PemSource::Embedded(content) => (TrustSource::Embedded, parsed(content)),
        PemSource::File(name) => match referenced(files, kubeconfig, name) {
            Ok(file) => {
                let content = files.read(&file).map_err(|e| e.to_string());
                let content = content.and_then(|content| content.ok_or("it is missing".into()));
                (TrustSource::File(file), content.and_then(|content| parsed(&content)))
            }
            Err(reason) => (TrustSource::None, Err(reason)),
        },
    };
    Some(Cluster { server: cluster.server.clone(), source, certificates })
}

/// Returns a kubeconfig that trusts what `signer` signs: with all CA certificates of the signer's
/// file, and those besides that it has now. `None` where it trusts that already, where it names a
/// file for its CA certificates, and where none of them is a CA of that file: then it is for
/// another server.
///
/// # Errors
/// When the kubeconfig has a form that can't be changed with certainty.
pub fn trusting(
    path: &AbsolutePath,
    content: &Secret,
    signer: &Certificate,
    anchors: &[&Certificate],
) -> Result<Option<Secret>, ComposeError> {
    let Some(trusted) = embedded(content) else { return Ok(None) };
    let has_key =
        |one: &&Certificate, other: &Certificate| one.public_key_der() == other.public_key_der();
    let is_own = trusted.iter().any(|one| anchors.iter().any(|anchor| has_key(anchor, one)));
    let is_same_ca = |one: &Certificate| {
        has_key(&one, signer)
            && one.subject == signer.subject
            && one.subject_key_identifier == signer.subject_key_identifier
            && one.not_after >= signer.not_after
    };
    if !is_own || trusted.iter().any(is_same_ca) {
        return Ok(None);
    }
    let is_listed =
        |one: &&Certificate| anchors.iter().any(|anchor| anchor.fingerprint == one.fingerprint);
    let others = trusted.iter().filter(|one| !is_listed(one));
    let pem: String = anchors.iter().copied().chain(others).map(Certificate::to_pem).collect();
    spliced(path, content, &pem).map(Some)
}

/// Returns a kubeconfig in which each CA certificate of the same name and key as this one is
/// replaced by it, once. `None` where there is none, or it is this one alone, or the kubeconfig
/// names a file for its CA certificates.
///
/// # Errors
/// When the kubeconfig has a form that can't be changed with certainty.
pub fn with_authority_renewed(
    path: &AbsolutePath,
    content: &Secret,
    new: &Certificate,
) -> Result<Option<Secret>, ComposeError> {
    let Some(trusted) = embedded(content) else { return Ok(None) };
    let is_own = |one: &&Certificate| one.is_of_same_ca(new);
    if trusted.iter().filter(is_own).all(|one| one == new) {
        return Ok(None);
    }
    spliced(path, content, &renewed_anchors(&trusted, new)).map(Some)
}

/// Returns a kubeconfig that trusts these of two roots: they stand where the first of the two
/// stood, and other CA certificates stay. `None` where it has neither of the two, or just these
/// already, or names a file for its CA certificates.
///
/// # Errors
/// When the kubeconfig has a form that can't be changed with certainty.
pub fn with_roots(
    path: &AbsolutePath,
    content: &Secret,
    roots: [&Certificate; 2],
    wanted: &[&Certificate],
) -> Result<Option<Secret>, ComposeError> {
    let Some(trusted) = embedded(content) else { return Ok(None) };
    let is_root = |one: &Certificate| roots.contains(&one);
    let present = trusted.iter().filter(|one| is_root(one));
    let is_wanted = |one: &&Certificate| wanted.contains(one);
    let has_all = wanted.iter().all(|one| trusted.contains(one));
    let Some(first) = trusted.iter().position(is_root) else { return Ok(None) };
    if has_all && present.clone().all(|one| is_wanted(&one)) && present.count() == wanted.len() {
        return Ok(None);
    }
    let kept = |part: &[Certificate]| -> String {
        part.iter().filter(|one| !is_root(one)).map(Certificate::to_pem).collect()
    };
    let (before, after) = trusted.split_at(first);
    let wanted: String = wanted.iter().map(|one| one.to_pem()).collect();
    spliced(path, content, &(kept(before) + &wanted + &kept(after))).map(Some)
}

/// Returns these CA certificates in PEM, with the new one in the place of the first of its CA, and
/// without others of that.
pub fn renewed_anchors<'c>(
    anchors: impl IntoIterator<Item = &'c Certificate>,
    new: &Certificate,
) -> String {
    let mut is_written = false;
    let kept = anchors.into_iter().filter_map(|anchor| {
        if !anchor.is_of_same_ca(new) {
            return Some(anchor.to_pem());
        }
        let first = !std::mem::replace(&mut is_written, true);
        first.then(|| new.to_pem())
    });
    kept.collect()
}

/// The CA certificates that a kubeconfig has in itself.
fn embedded(content: &Secret) -> Option<Vec<Certificate>> {
    match Kubeconfig::parse(content.expose()).ok()?.cluster?.authority {
        PemSource::Embedded(data) => certificates(data.expose()).ok(),
        PemSource::File(_) | PemSource::Missing => None,
    }
}

fn spliced(path: &AbsolutePath, content: &Secret, pem: &str) -> Result<Secret, ComposeError> {
    let failed = |source| ComposeError::Splice { path: path.clone(), source };
    kubeconfig::splice_authority(content.expose(), pem.as_bytes()).map_err(failed)
}

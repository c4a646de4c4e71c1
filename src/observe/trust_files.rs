//! The CA certificates in the files that services read only when they start.

use std::collections::BTreeSet;

use super::Catalog;
use crate::credentials::{Cluster, Files as _, ObservedFiles, cluster};
use crate::formats::x509::{Certificate, certificates};
use crate::model::{AbsolutePath, CaCertificates, Digest, TrustFile, TrustFileFacts, TrustSource};
use crate::sys::on_all_cores;

/// Reads those of all services of the catalog, each once.
#[must_use]
pub fn trust_files(root: &ObservedFiles, catalog: &Catalog) -> Vec<TrustFileFacts> {
    let trusted = catalog.services.iter().flat_map(|service| service.trusts.iter().cloned());
    let single = catalog.services.iter().filter_map(|service| service.one_certificate.clone());
    let all: BTreeSet<_> = trusted.chain(single.map(TrustFile::Pem)).collect();
    let all: Vec<_> = all.into_iter().collect();
    let found = on_all_cores(&all, |file| facts(root, file));
    let fault = |file: &TrustFile| TrustFileFacts {
        file: file.path().clone(),
        read: Vec::new(),
        certificates: Err(format!("{}: the parser failed at it", file.path())),
    };
    all.iter().zip(found).map(|(file, found)| found.unwrap_or_else(|| fault(file))).collect()
}

fn facts(root: &ObservedFiles, file: &TrustFile) -> TrustFileFacts {
    let path = file.path();
    let (read, found): (_, Result<Vec<Certificate>, String>) = match file {
        _ if !root.is_root_only(path) => {
            (Vec::new(), Err("it is missing, or writable by others than root".to_owned()))
        }
        TrustFile::Pem(_) => (vec![path.clone()], pem(root, path)),
        TrustFile::Kubeconfig(_) => match cluster(root, path) {
            Some(Cluster { source, certificates, .. }) => {
                let named = match source {
                    TrustSource::File(named) => Some(named),
                    TrustSource::Embedded | TrustSource::None => None,
                };
                ([path.clone()].into_iter().chain(named).collect(), certificates)
            }
            None => (vec![path.clone()], Err("it can't be read".to_owned())),
        },
    };
    let found =
        found.and_then(|all| content(&all, file).ok_or_else(|| "no CA certificate".to_owned()));
    let certificates = found.map_err(|reason| format!("{path}: {reason}"));
    TrustFileFacts { file: path.clone(), read, certificates }
}

fn pem(root: &ObservedFiles, file: &AbsolutePath) -> Result<Vec<Certificate>, String> {
    let content = root.read(file).map_err(|e| e.to_string())?.ok_or("it does not exist")?;
    certificates(content.expose()).map_err(|e| e.to_string())
}

/// kube-controller-manager publishes a PEM file as it is. In a kubeconfig the order of CA
/// certificates does not matter.
fn content(found: &[Certificate], file: &TrustFile) -> Option<CaCertificates> {
    let mut all: Vec<_> = found.iter().map(|one| one.fingerprint.to_string()).collect();
    if matches!(file, TrustFile::Kubeconfig(_)) {
        all.sort();
        all.dedup();
    }
    Some(CaCertificates {
        fingerprint: Digest::of(all.concat().as_bytes()),
        count: found.len(),
        made: found.iter().map(|one| one.not_before).max()?,
        not_after: found.iter().map(|one| one.not_after).max()?,
    })
}

//! How the CAs of a node stand to one another and to the CAs above them.

use crate::credentials::{Files, LoadedAuthority};
use crate::formats::x509::{Certificate, certificates};
use crate::model::{AbsolutePath, Authority, AuthorityName, Relations, RootAbove};
use crate::sys::Root;

/// Returns the relations of each authority, in order.
pub(super) fn relations(
    root: &Root,
    authorities: &[Authority],
    loaded: &[LoadedAuthority],
) -> Vec<Relations> {
    let all = || authorities.iter().zip(loaded);
    let cluster = all().find(|(one, _)| one.root);
    let one = |(authority, loaded): (&Authority, &LoadedAuthority)| {
        let accepted = authority.clients.as_ref().map(|file| (file, read(root, file)));
        let root_above = match &accepted {
            Some((file, Some(accepted))) => root_above(file, accepted, loaded),
            Some((_, None)) | None => None,
        };
        Relations {
            issuer: issuer(loaded),
            root_above,
            clients_unreadable: matches!(accepted, Some((_, None))),
            twin: cluster
                .filter(|(cluster, _)| cluster.name != authority.name)
                .and_then(|(cluster, of_cluster)| twin(cluster, of_cluster, loaded)),
        }
    };
    all().map(one).collect()
}

/// The issuer of an authority that is an intermediate.
fn issuer(loaded: &LoadedAuthority) -> Option<String> {
    let signers: Vec<_> = loaded.signers().collect();
    let is_root = signers.iter().any(|one| one.is_root());
    signers.first().filter(|_| !is_root).map(|one| one.issuer.to_string())
}

/// A root above an intermediate, in the file by which clients are accepted. While a CA is replaced,
/// the new root may be certified by the old one too, and its own root is there: that is no
/// intermediate.
fn root_above(
    file: &AbsolutePath,
    accepted: &[Certificate],
    loaded: &LoadedAuthority,
) -> Option<RootAbove> {
    issuer(loaded)?;
    let mut below: Vec<&Certificate> =
        accepted.iter().filter(|one| loaded.signers().any(|own| own.is_of_same_ca(one))).collect();
    if below.is_empty() {
        below = loaded.signers().collect();
    }
    // At most as many steps as there are certificates.
    for _ in accepted {
        let above =
            |one: &&Certificate| one.is_ca() && below.iter().any(|below| below.was_signed_by(one));
        let above: Vec<&Certificate> = accepted.iter().filter(above).collect();
        if let Some(found) = above.iter().find(|one| one.is_root()) {
            return Some(RootAbove { file: file.clone(), subject: found.subject.to_string() });
        }
        below = above;
    }
    None
}

fn read(root: &Root, file: &AbsolutePath) -> Option<Vec<Certificate>> {
    let content = Files::read(root, file).ok().flatten()?;
    certificates(content.expose()).ok()
}

/// The cluster's root CA, where the authority accepts what that one signs.
fn twin(
    cluster: &Authority,
    of_cluster: &LoadedAuthority,
    loaded: &LoadedAuthority,
) -> Option<AuthorityName> {
    let is_own = |one: &Certificate| of_cluster.signers().any(|own| own.is_of_same_ca(one));
    let is_twin = loaded.anchors().any(is_own);
    is_twin.then(|| cluster.name.clone())
}

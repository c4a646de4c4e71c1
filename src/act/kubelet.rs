//! kubelet's own client certificate, issued here because kubelet can't get another one itself: a
//! new pem beside the old ones, and the link swapped to it, as kubelet does it; and kubelet.conf
//! pointed to the link where it embeds an old certificate instead.

use super::job::{RenewError, Renewed};
use crate::credentials::{ComposeError, Files, Form, LoadedAuthority, SourceFile, Stored, load};
use crate::formats::kubeconfig::{self, Kubeconfig};
use crate::formats::x509::{Certificate, NODE_PREFIX, NODES, PrivateKey, kubelet_template};
use crate::model::{
    AbsolutePath, Credential, CredentialFacts, Digest, KubeletClient, Location, Signer, Timestamp,
};
use crate::store::{self, Change, Kind, NewFile, NewLink, Store};
use crate::sys::{FileError, Root, local_stamp};

/// Returns the certificate to renew or to request: the old one where it can be read and this
/// cluster's authority signed it, else a template for this node.
///
/// # Errors
/// When it is not known which node it is for, or the files are not those of the facts any more.
pub fn original(
    root: &Root,
    facts: &CredentialFacts,
    client: &KubeletClient,
    authority: &LoadedAuthority,
) -> Result<Stored, RenewError> {
    let credential = &facts.credential;
    let own = load(root, credential).stored();
    let found = own.as_ref().map(|stored| stored.certificate.fingerprint);
    if client.embedded.is_none() && found != facts.material.leaf().map(|leaf| leaf.fingerprint) {
        return Err(RenewError::Changed);
    }
    let embedded = || {
        load(
            root,
            &Credential {
                location: Location::Kubeconfig(client.kubeconfig.clone()),
                ..credential.clone()
            },
        )
        .stored()
    };
    let node = client.node.as_ref().map_err(|reason| RenewError::NodeNotKnown(reason.clone()))?;
    let is_its_own = |stored: &Stored| {
        authority.signer_of(&stored.certificate) == Signer::Authority
            && is_for(&stored.certificate, node)
    };
    let old = own.filter(is_its_own).or_else(|| embedded().filter(is_its_own));
    let (certificate, further) = match old {
        Some(stored) => (stored.certificate, stored.further),
        None => (kubelet_template(node)?, Vec::new()),
    };
    Ok(Stored {
        form: form(root, &credential.location, &client.kubeconfig)?,
        certificate,
        further,
        user: None,
        notes: Vec::new(),
    })
}

fn is_for(certificate: &Certificate, node: &str) -> bool {
    let subject = certificate.subject.parts();
    let has =
        |kind: &str, value: &str| subject.iter().any(|(own, text)| *own == kind && text == value);
    has("O", NODES) && has("CN", &format!("{NODE_PREFIX}{node}"))
}

/// Where it is to lie, whatever is there now.
fn form(root: &Root, location: &Location, kubeconfig: &AbsolutePath) -> Result<Form, RenewError> {
    let source = |path: &AbsolutePath| {
        // What a link leads to stays as it is, and need not be readable.
        let content = if link(root, path)?.is_some() { None } else { Files::read(root, path)? };
        Ok::<_, RenewError>(SourceFile { path: path.clone(), content })
    };
    Ok(match location {
        Location::Pair { certificate, key } => {
            Form::Pair { certificate: source(certificate)?, key: source(key)? }
        }
        Location::Bundle(file) => Form::Bundle(source(file)?),
        Location::Kubeconfig(_) | Location::KubeconfigUser { .. } => {
            return Err(RenewError::NodeNotKnown(format!(
                "{kubeconfig} is a symlink to another kubeconfig"
            )));
        }
    })
}

/// Where a link leads that is swapped, or `Some(None)` where there will be one. `None` for what is
/// replaced as a file.
fn link(root: &Root, path: &AbsolutePath) -> Result<Option<Option<std::path::PathBuf>>, FileError> {
    if !NewLink::is_for(path) {
        return Ok(None);
    }
    let dir = root.open_dir(path.as_path().parent().unwrap_or(path.as_path()))?;
    let name = path.as_path().file_name().unwrap_or_default();
    let target = dir.link_target(name)?;
    Ok(if target.is_none() && dir.stat(name)?.is_some() { None } else { Some(target) })
}

/// The files and the link that are replaced.
pub struct Replacing {
    /// The files.
    pub files: Vec<NewFile>,
    /// The link.
    pub link: Option<NewLink>,
}

/// The files that change: for a link the new pem, else the file itself; and kubelet.conf where it
/// has to be pointed there.
///
/// # Errors
/// When a file can't be read, or kubelet.conf can't be written.
pub fn files(
    root: &Root,
    location: &Location,
    client: &KubeletClient,
    authority: &LoadedAuthority,
    mut files: Vec<NewFile>,
    now: Timestamp,
) -> Result<Replacing, RenewError> {
    let path = location.certificate_file();
    let mut new_link = None;
    if let (Some(old), Location::Bundle(_)) = (link(root, path)?, location) {
        let content = files.drain(..).next().map(|file| file.content).ok_or(RenewError::Fault)?;
        new_link =
            Some(NewLink { path: path.clone(), old, name: free_name(root, path, now)?, content });
    }
    if let Some(server) = &client.lost {
        files.push(new_kubeconfig(client, server, authority, location)?);
    } else if client.embedded.is_some() {
        files.extend(pointed(root, client, location)?);
    }
    Ok(Replacing { files, link: new_link })
}

/// A certificate that the cluster issued for kubelet.
pub struct IssuedClient<'c> {
    /// The certificate.
    pub certificate: &'c Certificate,
    /// What stands behind it.
    pub behind: &'c [Certificate],
    /// Its key.
    pub key: &'c PrivateKey,
}

/// Puts a certificate that the cluster issued where kubelet finds it. The time is the present one,
/// and the number how many backups are kept.
///
/// # Errors
/// When the files can't be read or replaced.
pub fn received(
    root: &Root,
    store: &mut Store<'_>,
    (facts, client, authority): (&CredentialFacts, &KubeletClient, &LoadedAuthority),
    issued: &IssuedClient<'_>,
    (now, backups): (Timestamp, usize),
) -> Result<Renewed, RenewError> {
    let IssuedClient { certificate, behind, key } = issued;
    let location = &facts.credential.location;
    let (form, further) = (form(root, location, &client.kubeconfig)?, Vec::new());
    let certificate = (*certificate).clone();
    let stored = Stored { form, certificate, further, user: None, notes: Vec::new() };
    let composed = stored.compose_chain(&stored.certificate, behind, &key.to_pem()?)?;
    let Replacing { files, link } = files(root, location, client, authority, composed.files, now)?;
    let link_path = link.iter().map(|link| link.path.clone());
    let written = link_path.chain(files.iter().map(|file| file.path.clone())).collect();
    let credential = facts.credential.name.clone();
    let change =
        Change { credential: credential.clone(), files, link, backup: store::Backup::Required };
    let change = store.stage(change)?.check(|contents| {
        let (found, key) = stored.read_back(contents)?;
        let is_whole = found == stored.certificate && key.fits(&found);
        if is_whole { Ok(()) } else { Err(RenewError::KeyDoesNotFit) }
    })?;
    let commit = store.commit(vec![change], now, backups);
    commit.outcomes.into_iter().try_for_each(|outcome| outcome.result)?;
    let certificate = &stored.certificate;
    Ok(Renewed {
        credential,
        serial: certificate.serial.to_string(),
        not_after: certificate.not_after,
        key_algorithm: certificate.key_algorithm.to_string(),
        fingerprint: certificate.fingerprint,
        files: written,
    })
}

/// With the time in it, as kubelet does it: the machine's own. A name that is taken is another
/// program's file.
fn free_name(root: &Root, path: &AbsolutePath, now: Timestamp) -> Result<String, RenewError> {
    let dir = root.open_dir(path.as_path().parent().unwrap_or(path.as_path()))?;
    for later in 0..60 {
        let at = now.plus(std::time::Duration::from_secs(later));
        let name = NewLink::dated(path, &local_stamp(root, at)).ok_or(RenewError::Fault)?;
        if dir.stat(std::ffi::OsStr::new(&name))?.is_none() {
            return Ok(name);
        }
    }
    Err(RenewError::Changed)
}

/// A kubelet.conf in the place of one that does not exist.
fn new_kubeconfig(
    client: &KubeletClient,
    server: &Result<String, String>,
    authority: &LoadedAuthority,
    location: &Location,
) -> Result<NewFile, RenewError> {
    let not_known = |reason: &String| RenewError::NodeNotKnown(reason.clone());
    let node = client.node.as_ref().map_err(not_known)?;
    let server = server.as_ref().map_err(not_known)?;
    let trusted: String = authority.anchors().map(Certificate::to_pem).collect();
    let mut files = location.files();
    let certificate = files.next().ok_or(RenewError::Fault)?;
    let key = files.next().unwrap_or(certificate);
    let entry = format!("    client-certificate: {certificate}\n    client-key: {key}\n");
    let user = format!("{NODE_PREFIX}{node}");
    let content = kubeconfig::with_user(&trusted, server, &user, &entry).into();
    Ok(NewFile { path: client.kubeconfig.clone(), content, old: None, kind: Kind::Private })
}

/// Nothing where it points there by now.
fn pointed(
    root: &Root,
    client: &KubeletClient,
    location: &Location,
) -> Result<Option<NewFile>, RenewError> {
    let path = &client.kubeconfig;
    let Some(text) = Files::read(root, path)? else { return Err(RenewError::Changed) };
    let embeds = Kubeconfig::parse(text.expose()).is_ok_and(|config| {
        matches!(config.user.client.certificate, kubeconfig::PemSource::Embedded(_))
    });
    if !embeds {
        return Ok(None);
    }
    let failed = |source| ComposeError::Splice { path: path.clone(), source };
    let content =
        kubeconfig::point(text.expose(), location.certificate_file().as_path()).map_err(failed)?;
    Ok(Some(NewFile {
        path: path.clone(),
        content,
        old: Some(Digest::of(text.expose())),
        kind: Kind::Private,
    }))
}

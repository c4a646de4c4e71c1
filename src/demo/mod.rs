//! A throw-away control-plane node: a directory that looks like the root directory of a node made
//! by kubeadm, with certificates in any wanted state. For the demonstration, the benchmarks and
//! tests.
//!
//! This module creates such a node and returns the expected state of each of its credentials. It
//! never reads a node, and it shares little with the rest of the program on purpose: the
//! certificates are made by `rcgen`, which issues nothing elsewhere.
//!
//! The files are written directly, each new and none ever replaced: an interruption loses nothing,
//! since the directory was empty. The keys protect nothing, so they are not wiped from memory.

mod error;
mod kubeconfig;
mod manifests;
mod node_dir;
mod node_plan;
mod parts;
mod sign;
mod table;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::DemoError;
pub use node_plan::{AuthorityLife, Life, NodePlan};

use crate::formats::pem;
use crate::formats::x509::PrivateKey;
use crate::model::{AuthorityCondition, Condition, Timestamp, days};

use node_dir::{NodeDir, PRIVATE, PUBLIC};
use node_plan::VALIDITY;
use parts::Parts;
use sign::{Authority, Key, Leaf};
use table::{AuthorityEntry, CredentialEntry, CredentialFiles};

/// A node that was created, and the states that it should be found in.
#[derive(Debug)]
pub struct DemoNode {
    /// Its root directory.
    pub dir: PathBuf,
    /// The credentials by their names, and the state that each should be found in, as long as the
    /// configuration has its defaults and no day has passed since.
    pub credentials: Vec<(&'static str, Condition)>,
    /// The authorities by their names, and the state that each should be found in.
    pub authorities: Vec<(&'static str, AuthorityCondition)>,
    /// The authorities with their keys, those of external CAs included.
    signers: BTreeMap<&'static str, Authority>,
}

impl DemoNode {
    /// Creates a node in an existing, empty directory, as of the time `now`.
    ///
    /// # Errors
    /// When the directory is not empty, the plan contains an unknown name, or a file can't be
    /// created.
    pub fn build(dir: &Path, now: Timestamp, plan: &NodePlan) -> Result<Self, DemoError> {
        plan.check()?;
        let builder = NodeBuilder { dir: NodeDir::empty(dir, now.minus(days(1)))?, now, plan };
        let authorities = builder.authorities()?;
        for entry in plan.credentials() {
            builder.credential(
                entry,
                authorities.get(entry.authority).ok_or_else(|| unknown(entry.authority))?,
            )?;
        }
        builder.service_account_key()?;
        builder.manifests()?;
        builder.configuration()?;
        Ok(Self {
            dir: dir.to_owned(),
            credentials: plan.conditions(),
            authorities: plan.authority_conditions(),
            signers: authorities,
        })
    }

    /// Signs a request for a credential in the place of its CA, for a year from `now`, and returns
    /// the certificate as a PEM block.
    ///
    /// # Errors
    /// When the node has no such credential, or the request can't be read.
    pub fn sign_request(
        &self,
        credential: &str,
        request: &[u8],
        now: Timestamp,
    ) -> Result<String, DemoError> {
        let entry = table::CREDENTIALS
            .iter()
            .find(|entry| entry.name == credential)
            .ok_or_else(|| unknown(credential))?;
        let signer = self.signers.get(entry.authority).ok_or_else(|| unknown(entry.authority))?;
        let leaf = Leaf { entry, lifetime: Life::Days(VALIDITY).lifetime(now) };
        leaf.signed_by(signer, &signer.requested_key(request)?)
    }
}

fn unknown(name: &str) -> DemoError {
    DemoError::UnknownName(name.to_owned())
}

/// A node under construction.
struct NodeBuilder<'a> {
    dir: NodeDir<'a>,
    now: Timestamp,
    plan: &'a NodePlan,
}

impl NodeBuilder<'_> {
    fn authorities(&self) -> Result<BTreeMap<&'static str, Authority>, DemoError> {
        self.plan.authorities().map(|entry| Ok((entry.name, self.authority(entry)?))).collect()
    }

    fn authority(&self, entry: &AuthorityEntry) -> Result<Authority, DemoError> {
        let life = self.plan.authority_life(entry.name);
        let authority = Authority::make(
            entry.common_name,
            Key::generate(&self.plan.key)?,
            life.lifetime(self.now),
        )?;
        self.dir.file(
            &format!("{}.crt", entry.files),
            authority.certificate().as_bytes(),
            PUBLIC,
        )?;
        let key_file = format!("{}.key", entry.files);
        match life {
            AuthorityLife::Days(_) => {
                self.dir.file(&key_file, authority.key().expose(), PRIVATE)?
            }
            AuthorityLife::KeyUnusable => {
                self.dir.file(&key_file, Key::generate(&self.plan.key)?.pem.expose(), PRIVATE)?
            }
            AuthorityLife::External => {}
        }
        Ok(authority)
    }

    fn credential(&self, entry: &CredentialEntry, authority: &Authority) -> Result<(), DemoError> {
        let parts = Parts::make(entry, self.plan.life(entry), authority, &self.plan.key, self.now)?;
        match &entry.place {
            CredentialFiles::Pair(files) => self.pair(files, &parts),
            CredentialFiles::Kubeconfig { file, server } => {
                self.kubeconfig(file, entry.common_name, server, authority, &parts)
            }
            CredentialFiles::KubeletBundle => {
                self.kubelet_bundle(entry.common_name, authority, &parts)
            }
        }
    }

    fn pair(&self, files: &str, parts: &Parts) -> Result<(), DemoError> {
        if let Some(certificate) = &parts.certificate {
            self.dir.file(&format!("{files}.crt"), certificate.as_bytes(), PUBLIC)?;
        }
        if let Some(key) = &parts.key {
            self.dir.file(&format!("{files}.key"), key.expose(), PRIVATE)?;
        }
        Ok(())
    }

    fn kubeconfig(
        &self,
        file: &str,
        user: &str,
        server: &str,
        authority: &Authority,
        parts: &Parts,
    ) -> Result<(), DemoError> {
        if parts.is_empty() {
            return Ok(());
        }
        let text = kubeconfig::embedding(&authority.certificate(), server, user, parts);
        self.dir.file(file, text.as_bytes(), PRIVATE)
    }

    /// Writes kubelet's files as kubelet does: a file with a date in its name, a link to it by an
    /// absolute path, and a kubeconfig that names the link.
    fn kubelet_bundle(
        &self,
        user: &str,
        authority: &Authority,
        parts: &Parts,
    ) -> Result<(), DemoError> {
        let text = kubeconfig::referring(
            &authority.certificate(),
            table::LOCAL_SERVER,
            user,
            &format!("/{}", table::KUBELET_LINK),
        );
        self.dir.file(table::KUBELET_CONF, text.as_bytes(), PRIVATE)?;
        if parts.is_empty() {
            return Ok(());
        }
        let file = format!(
            "{}/kubelet-client-{}.pem",
            table::KUBELET_PKI,
            parts.not_before.civil().strftime("%Y-%m-%d-%H-%M-%S")
        );
        self.dir.file(&file, &parts.joined(), PRIVATE)?;
        self.dir.link(table::KUBELET_LINK, &format!("/{file}"))
    }

    /// Writes a key without a certificate. It is there because kubeadm makes it, and because it
    /// must never be touched.
    fn service_account_key(&self) -> Result<(), DemoError> {
        let key = PrivateKey::generate(&self.plan.key)?;
        self.dir.file("etc/kubernetes/pki/sa.key", key.to_pem()?.expose(), PRIVATE)?;
        self.dir.file(
            "etc/kubernetes/pki/sa.pub",
            pem::encode("PUBLIC KEY", key.public_key_der()).as_bytes(),
            PRIVATE,
        )
    }

    fn manifests(&self) -> Result<(), DemoError> {
        manifests::all().try_for_each(|(name, text)| {
            self.dir.file(
                &format!("etc/kubernetes/manifests/{name}.yaml"),
                text.as_bytes(),
                PRIVATE,
            )
        })
    }

    fn configuration(&self) -> Result<(), DemoError> {
        match self.plan.configuration() {
            Some(text) => self.dir.file("etc/kubecertd/kubecertd.toml", text.as_bytes(), PUBLIC),
            None => Ok(()),
        }
    }
}

//! A controller node to throw away: a folder that looks like the root folder of a node made by
//! kubeadm, with certificates in whatever state is wanted. For the demonstration, the benchmarks
//! and tests.
//!
//! What lives here makes such a node and says in which state each of its credentials was meant to
//! be. It never looks at a node, and it shares little with the rest of the program on purpose: the
//! certificates are made by `rcgen`, which issues nothing elsewhere.
//!
//! The files are written directly, each new and none ever replaced: nothing is lost when the making
//! is interrupted, since the folder was empty. The keys guard nothing, so they are not wiped from
//! memory.

mod error;
mod folder;
mod kubeconfig;
mod manifests;
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

use folder::{Folder, PRIVATE, PUBLIC};
use parts::Parts;
use sign::{Authority, Key};
use table::{AuthorityEntry, CredentialEntry, Place};

/// A node that was made, and what it should be found to be.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its root folder.
    pub folder: PathBuf,
    /// The credentials by their names, and the state that each should be found in, as long as the
    /// defaults of the configuration are in force and no day has passed since.
    pub credentials: Vec<(&'static str, Condition)>,
    /// The authorities by their names, and the state that each should be found in.
    pub authorities: Vec<(&'static str, AuthorityCondition)>,
}

impl Node {
    /// Makes a node in a folder that is there and empty, as of the time `now`.
    ///
    /// # Errors
    /// When the folder is not empty, the plan names something that is not there, or
    /// something can't be made.
    pub fn build(folder: &Path, now: Timestamp, plan: &NodePlan) -> Result<Self, DemoError> {
        plan.check()?;
        let maker = Maker { folder: Folder::empty(folder, now.minus(days(1)))?, now, plan };
        let authorities = maker.authorities()?;
        for entry in plan.credentials() {
            maker.credential(
                entry,
                authorities.get(entry.authority).ok_or_else(|| unknown(entry.authority))?,
            )?;
        }
        maker.service_account_key()?;
        maker.manifests()?;
        maker.configuration()?;
        Ok(Self {
            folder: folder.to_owned(),
            credentials: plan.conditions(),
            authorities: plan.authority_conditions(),
        })
    }
}

fn unknown(name: &str) -> DemoError {
    DemoError::UnknownName(name.to_owned())
}

/// One node in the making.
struct Maker<'a> {
    folder: Folder<'a>,
    now: Timestamp,
    plan: &'a NodePlan,
}

impl Maker<'_> {
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
        self.folder.file(
            &format!("{}.crt", entry.files),
            authority.certificate().as_bytes(),
            PUBLIC,
        )?;
        let key_file = format!("{}.key", entry.files);
        match life {
            AuthorityLife::Days(_) => {
                self.folder.file(&key_file, authority.key().expose(), PRIVATE)?
            }
            AuthorityLife::KeyUnusable => {
                self.folder.file(&key_file, Key::generate(&self.plan.key)?.pem.expose(), PRIVATE)?
            }
            AuthorityLife::External => {}
        }
        Ok(authority)
    }

    fn credential(&self, entry: &CredentialEntry, authority: &Authority) -> Result<(), DemoError> {
        let parts = Parts::make(entry, self.plan.life(entry), authority, &self.plan.key, self.now)?;
        match &entry.place {
            Place::Pair(files) => self.pair(files, &parts),
            Place::Kubeconfig { file, server } => {
                self.kubeconfig(file, entry.common_name, server, authority, &parts)
            }
            Place::KubeletBundle => self.kubelet_bundle(entry.common_name, authority, &parts),
        }
    }

    fn pair(&self, files: &str, parts: &Parts) -> Result<(), DemoError> {
        if let Some(certificate) = &parts.certificate {
            self.folder.file(&format!("{files}.crt"), certificate.as_bytes(), PUBLIC)?;
        }
        if let Some(key) = &parts.key {
            self.folder.file(&format!("{files}.key"), key.expose(), PRIVATE)?;
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
        if parts.is_nothing() {
            return Ok(());
        }
        let text = kubeconfig::embedding(&authority.certificate(), server, user, parts);
        self.folder.file(file, text.as_bytes(), PRIVATE)
    }

    /// As kubelet keeps its own: a file with a date in its name, a link to it by an absolute path,
    /// and a kubeconfig that names the link.
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
        self.folder.file(table::KUBELET_CONF, text.as_bytes(), PRIVATE)?;
        if parts.is_nothing() {
            return Ok(());
        }
        let file = format!(
            "{}/kubelet-client-{}.pem",
            table::KUBELET_PKI,
            parts.not_before.civil().strftime("%Y-%m-%d-%H-%M-%S")
        );
        self.folder.file(&file, &parts.joined(), PRIVATE)?;
        self.folder.link(table::KUBELET_LINK, &format!("/{file}"))
    }

    /// No certificate goes with it. It is there because kubeadm makes it, and because it must never
    /// be touched.
    fn service_account_key(&self) -> Result<(), DemoError> {
        let key = PrivateKey::generate(&self.plan.key)?;
        self.folder.file("etc/kubernetes/pki/sa.key", key.to_pem()?.expose(), PRIVATE)?;
        self.folder.file(
            "etc/kubernetes/pki/sa.pub",
            pem::encode("PUBLIC KEY", key.public_key_der()).as_bytes(),
            PRIVATE,
        )
    }

    fn manifests(&self) -> Result<(), DemoError> {
        manifests::all().try_for_each(|(name, text)| {
            self.folder.file(
                &format!("etc/kubernetes/manifests/{name}.yaml"),
                text.as_bytes(),
                PRIVATE,
            )
        })
    }

    fn configuration(&self) -> Result<(), DemoError> {
        match self.plan.configuration() {
            Some(text) => self.folder.file("etc/kubecertd/kubecertd.toml", text.as_bytes(), PUBLIC),
            None => Ok(()),
        }
    }
}

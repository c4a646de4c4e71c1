//! The further users of the node's kubeconfigs: each client certificate is a credential of its own.
//! The user of current-context is the kubeconfig's; the others are watched, and renewed where an
//! entry of the operator names them.

use super::input::KubeconfigReader;
use super::{Catalog, Note};
use crate::model::{
    AbsolutePath, AuthorityName, Credential, CredentialName, Location, Need, Renewal,
};
use crate::sys::on_all_cores;

/// The largest number of further users of one kubeconfig that are listed: others than root may be
/// able to write it.
const MAX_USERS: usize = 32;

/// A kubeconfig of the node.
struct NamedKubeconfig {
    /// The first part of the names of its users.
    name: String,
    file: AbsolutePath,
    authority: Option<AuthorityName>,
}

impl Catalog {
    /// Makes an entry that names the current user of a listed kubeconfig that kubeconfig.
    pub(super) fn find_current_users(&mut self, users: KubeconfigReader<'_>) {
        let listed: Vec<_> = self.kubeconfigs().into_iter().map(|one| one.file).collect();
        for credential in &mut self.credentials {
            if let Location::KubeconfigUser { file, user } = &credential.location
                && listed.contains(file)
                && users(file).current.as_ref() == Some(user)
            {
                credential.location = Location::Kubeconfig(file.clone());
            }
        }
    }

    /// Adds the users with client certificates that no entry names.
    pub(super) fn add_users(&mut self, users: KubeconfigReader<'_>) {
        let kubeconfigs = self.kubeconfigs();
        // Parsing them takes most of the time of opening a node.
        let found = on_all_cores(&kubeconfigs, |one| users(&one.file).others);
        for (kubeconfig, others) in kubeconfigs.into_iter().zip(found) {
            let NamedKubeconfig { name, file, authority } = kubeconfig;
            let mut others = others.unwrap_or_default();
            if others.len() > MAX_USERS {
                others.truncate(MAX_USERS);
                self.notes.push(Note::TooManyUsers { file: file.clone(), most: MAX_USERS });
            }
            for user in others {
                let location = Location::KubeconfigUser { file: file.clone(), user };
                if self.credentials.iter().any(|one| one.location == location) {
                    continue;
                }
                let user = location.user().unwrap_or_default();
                self.credentials.push(Credential {
                    name: self.unique_name(&format!("{name}/{user}")),
                    kubeadm_name: None,
                    location,
                    authority: authority.clone(),
                    renewal: Renewal::Elsewhere,
                    need: Need::Optional,
                });
            }
        }
    }

    /// The kubeconfigs in the catalog. That of kubelet's own certificate has the name of its file.
    fn kubeconfigs(&self) -> Vec<NamedKubeconfig> {
        let named = |(credential, file): (CredentialName, AbsolutePath)| {
            let is_its_own = |one: &&Credential| one.name == credential;
            let credential = self.credentials.iter().find(is_its_own);
            let name = match credential {
                Some(one) if one.location == Location::Kubeconfig(file.clone()) => {
                    one.name.to_string()
                }
                _ => file.as_path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            };
            let authority = credential.and_then(|one| one.authority.clone());
            NamedKubeconfig { name, file, authority }
        };
        self.kubeconfig_files().into_iter().map(named).collect()
    }
}

//! The further users of the node's kubeconfigs: each client certificate is a credential of its own.
//! The user of current-context is the kubeconfig's; the others are watched, and renewed where an
//! entry of the operator names them.

use super::{Catalog, KubeconfigUsers, Note};
use crate::model::{AbsolutePath, AuthorityName, Credential, Location, Need, Renewal};

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
    pub(super) fn find_current_users(&mut self, users: &dyn Fn(&AbsolutePath) -> KubeconfigUsers) {
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
    pub(super) fn add_users(&mut self, users: &dyn Fn(&AbsolutePath) -> KubeconfigUsers) {
        for NamedKubeconfig { name, file, authority } in self.kubeconfigs() {
            let mut others = users(&file).others;
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

    /// The kubeconfigs in the catalog: credentials, and those through which kubelet finds its own.
    /// Copies are left out: what others put there is not shown.
    fn kubeconfigs(&self) -> Vec<NamedKubeconfig> {
        let listed = self.credentials.iter().filter(|one| one.copy_of().is_none());
        let own = listed.filter_map(|one| match &one.location {
            Location::Kubeconfig(file) => Some(NamedKubeconfig {
                name: one.name.to_string(),
                file: file.clone(),
                authority: one.authority.clone(),
            }),
            _ => None,
        });
        let kubelets = self.kubeconfigs.iter().map(|(kubelet, file)| NamedKubeconfig {
            name: file.as_path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            file: file.clone(),
            authority: self
                .credentials
                .iter()
                .find(|one| one.name == *kubelet)
                .and_then(|one| one.authority.clone()),
        });
        own.chain(kubelets).collect()
    }
}

//! Serving certificates that only flags name: those of kube-controller-manager and kube-scheduler,
//! and those for further names of the API server.

use super::manifests::{Manifest, Manifests};
use super::note::Note;
use super::places::{key_beside, pair};
use super::services::address;
use super::{Catalog, CatalogInput};
use crate::formats::manifest::{NoHostPath, Pod, Setting};
use crate::model::{
    AbsolutePath, Credential, CredentialName, Location, Need, Renewal, ServiceName, Takes, Use,
};
use crate::settings::{Profile, ProfileServing, ServingFlags, Settings};

/// Where a pod has a pair, or why that is not known.
type Found = Result<Location, Note>;

impl Catalog {
    /// Adds them, as credentials that are only watched until it is known which CA signed them. One
    /// whose files are an operator's credential or copy stays that.
    pub(super) fn add_serving(
        &mut self,
        settings: &Settings,
        profile: &Profile,
        manifests: &Manifests,
        input: CatalogInput<'_>,
    ) {
        for usual in &profile.serving {
            let service = profile.services.iter().find(|one| one.name == usual.service);
            let Some(component) = service.and_then(|service| service.kind.pod()) else { continue };
            let Manifest::Read { file, pod } = manifests.of(component) else { continue };
            for found in pairs(usual, file, pod) {
                match found {
                    Ok(location) => {
                        self.add_pair(settings, usual, (file, pod), location, input);
                    }
                    Err(note) => self.notes.push(note),
                }
            }
        }
    }

    fn add_pair(
        &mut self,
        settings: &Settings,
        usual: &ProfileServing,
        (file, pod): (&str, &Pod),
        location: Location,
        input: CatalogInput<'_>,
    ) {
        let same = |one: &&Credential| input.is_same(&one.location, &location);
        let name = match self.credentials.iter().find(same) {
            Some(known) => known.name.clone(),
            None if settings.copies.iter().any(|copy| copy.location == location) => {
                return;
            }
            None => self.add_watched(usual, file, location),
        };
        let served_at = usual.served_at.as_ref().and_then(|place| address(place, Some(pod)));
        self.add_use(&usual.service, name, served_at);
    }

    fn add_watched(
        &mut self,
        usual: &ProfileServing,
        file: &str,
        location: Location,
    ) -> CredentialName {
        let name = match &usual.flags {
            ServingFlags::Pair { .. } => usual.name.clone(),
            ServingFlags::Pairs(_) => {
                let file = location.certificate_file().as_path();
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                self.unique_name(&format!("{}/{stem}", usual.name))
            }
        };
        if !self.credentials.iter().any(|one| one.name == name) {
            self.serving.insert(name.clone());
            self.credentials.push(Credential {
                name: name.clone(),
                kubeadm_name: None,
                location,
                authority: None,
                renewal: Renewal::Elsewhere,
                need: Need::Manifest(file.to_owned()),
            });
        }
        name
    }

    fn add_use(&mut self, service: &ServiceName, name: CredentialName, served_at: Option<String>) {
        let Some(service) = self.services.iter_mut().find(|one| one.name == *service) else {
            return;
        };
        if !service.configured && !service.uses.iter().any(|one| one.credential == name) {
            let (takes, to_port, first_request) = (Takes::Reloads, None, None);
            service.uses.push(Use { credential: name, takes, served_at, to_port, first_request });
        }
    }
}

fn pairs(usual: &ProfileServing, file: &str, pod: &Pod) -> Vec<Found> {
    match &usual.flags {
        ServingFlags::Pair { certificate, key } => {
            let Some(named) = pod.setting(certificate) else { return Vec::new() };
            let key = pod.setting(key);
            let certificate = host_file(file, pod, &named, named.value);
            let key = key.map(|key| host_file(file, pod, &key, key.value)).transpose();
            let location = certificate.and_then(|certificate| {
                let key = key?.unwrap_or_else(|| key_beside(&certificate));
                Ok(pair(certificate, key))
            });
            vec![location]
        }
        ServingFlags::Pairs(flag) => {
            let of = |setting: &Setting<'_>| {
                let files = setting.value.split(':').next().unwrap_or_default();
                let (certificate, key) =
                    files.split_once(',').filter(|(_, key)| !key.contains(','))?;
                let file = |path: &str| host_file(file, pod, setting, path.trim());
                Some(file(certificate).and_then(|one| Ok(pair(one, file(key)?))))
            };
            pod.settings(flag).iter().filter_map(of).collect()
        }
    }
}

fn host_file(
    file: &str,
    pod: &Pod,
    setting: &Setting<'_>,
    path: &str,
) -> Result<AbsolutePath, Note> {
    let found = if setting.known { pod.host_path(path) } else { Err(NoHostPath::NotKnown) };
    found.map_err(|problem| {
        let (file, by, value) = (file.to_owned(), setting.by.clone(), setting.value.to_owned());
        Note::NoServingFile { file, by, value, problem }
    })
}

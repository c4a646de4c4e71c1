//! Manifests of components that do not say which certificates are used.

use super::manifests::{Manifest, Manifests};
use super::note::Note;
use crate::formats::manifest::Pod;
use crate::settings::{FlagNames, Profile, ProfileCredential, Settings};

/// Adds a note for each pod of a component that names no certificates, or may name others than
/// those that are read. What the operator lists is left out.
pub(super) fn note(
    settings: &Settings,
    profile: &Profile,
    manifests: &Manifests,
    notes: &mut Vec<Note>,
) {
    let is_listed =
        |pod: &str| settings.services.iter().any(|own| own.service.kind.pod() == Some(pod));
    notes.retain(|note| !matches!(note, Note::SameComponent { pod, .. } if is_listed(pod)));
    for (component, pod) in manifests.components() {
        let Manifest::Read { file, .. } = manifests.of(component) else { continue };
        // That its configuration file can't be used is the reason, then.
        if !notes.iter().any(|note| note.unread_configuration_of() == Some(file)) {
            notes.extend(of_component(settings, profile, component, file, pod));
        }
    }
}

fn of_component(
    settings: &Settings,
    profile: &Profile,
    component: &str,
    file: &str,
    pod: &Pod,
) -> Option<Note> {
    let is_own =
        |usual: &ProfileCredential| settings.credentials.iter().any(|own| own.name == usual.name);
    let usual: Vec<&ProfileCredential> = profile
        .credentials
        .iter()
        .filter(|usual| usual.flags.as_ref().is_some_and(|flags| flags.pod == component))
        .filter(|usual| !is_own(usual))
        .collect();
    let named = usual.iter().filter(|usual| is_named(usual, pod)).count();
    let (file, name, doubt) = (file.to_owned(), pod.name().to_owned(), pod.doubt());
    if named == 0 && !usual.is_empty() && !is_plain(&usual, pod) {
        let (component, doubt) = (component.to_owned(), doubt.map(str::to_owned));
        return Some(Note::NoCertificates { file, pod: name, component, doubt });
    }
    let doubt = doubt?.to_owned();
    Some(Note::Doubt { file, pod: name, doubt, all_named: named == usual.len() })
}

fn is_named(usual: &ProfileCredential, pod: &Pod) -> bool {
    usual.flags.as_ref().is_some_and(|flags| match &flags.names {
        FlagNames::Pair { certificate, .. } => pod.setting(certificate).is_some(),
        FlagNames::Kubeconfig(flag) => pod.setting(flag).is_some(),
    })
}

/// Whether it serves without TLS, as its URLs say.
fn is_plain(usual: &[&ProfileCredential], pod: &Pod) -> bool {
    let flags = usual.iter().filter_map(|usual| usual.names.as_ref()).flat_map(|one| &one.urls);
    let urls: Vec<&str> =
        flags.filter_map(|flag| pod.flag(flag)).flat_map(|urls| urls.split(',')).collect();
    !urls.is_empty() && urls.iter().all(|url| !url.trim().starts_with("https"))
}

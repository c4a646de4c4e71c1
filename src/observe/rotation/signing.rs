//! What kube-controller-manager signs with in a rotation.

use super::read::is_named;
use super::{Finder, RotationTrouble, interference};
use crate::credentials::{LoadedKey, read_key};
use crate::drivers::processes::Process;
use crate::model::{RootCa, SigningFiles};
use crate::observe::controller_manager::{
    CONTROLLER_MANAGER, ControllerManager, SIGNING_FLAGS, signing_files,
};

impl Finder<'_> {
    /// The files that kube-controller-manager signs with, and whether the running one has these
    /// flags.
    pub(super) fn signing(&self) -> Result<(SigningFiles, bool), RotationTrouble> {
        let found = ControllerManager::read(self.node, self.files);
        let found = found.map_err(RotationTrouble::Unreadable)?;
        let values = found.signing_values(self.authority).map_err(RotationTrouble::Unreadable)?;
        let ControllerManager { manifest, pod } = found;
        let present = SIGNING_FLAGS.map(|flag| pod.flag(flag).unwrap_or_default().to_owned());
        let shown = [0, 1].map(|at| {
            let (flag, value) = (SIGNING_FLAGS.get(at), present.get(at));
            format!("--{}={}", flag.unwrap_or(&""), value.map_or("", String::as_str))
        });
        let signing = if present == values.ca_files {
            SigningFiles::CaFiles
        } else if present == values.own {
            SigningFiles::Own(self.signs_with()?)
        } else {
            let found = format!("its signing flags are {}", shown.join(" "));
            return Err(interference(&manifest, &found));
        };
        Ok((signing, self.runs_with(&shown)))
    }

    /// The root in the files of its own.
    fn signs_with(&self) -> Result<RootCa, RotationTrouble> {
        let [certificate, _] = &signing_files(self.authority);
        let found = self.pem(certificate)?;
        let roots = [RootCa::Old, RootCa::New];
        let is_it = |root: &RootCa| found.iter().eq([self.intent.root(*root)]);
        let root = roots.into_iter().find(is_it);
        root.ok_or_else(|| interference(certificate, "another certificate"))
    }

    /// Whether the key in the files of its own fits the certificate there.
    pub(super) fn signing_fits(&self, signing: SigningFiles) -> bool {
        let SigningFiles::Own(root) = signing else { return true };
        let [_, key] = &signing_files(self.authority);
        match read_key(self.files, key) {
            LoadedKey::Usable(key) => key.fits(self.intent.root(root)),
            LoadedKey::Absent | LoadedKey::Unusable(_) => false,
        }
    }

    fn runs_with(&self, flags: &[String]) -> bool {
        let Some(services) = self.services else { return true };
        let judged = services.judged.iter().find(|one| is_named(one, CONTROLLER_MANAGER));
        let running = judged.and_then(|one| one.facts.presence.instance()?.pid);
        let root = &self.node.root;
        let process = running.and_then(|pid| Process::find(root, pid).ok()?);
        let line = process.and_then(|process| process.command_line(root).ok());
        line.is_some_and(|line| {
            flags.iter().all(|flag| line.split('\0').any(|word| word == flag.as_str()))
        })
    }
}

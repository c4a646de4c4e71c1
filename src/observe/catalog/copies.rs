//! The copies of credentials that the operator lists, each file as an entry of its own.

use super::{Catalog, CatalogError, Note};
use crate::model::{AbsolutePath, CopyOf, Credential, CredentialName, Location, Need, Renewal};
use crate::settings::{OwnCopy, Settings};
use crate::sys::MAX_MATCHES;

/// The longest name that is allowed.
const MAX_NAME_LENGTH: usize = 64;

impl Catalog {
    /// Adds the copies. `matching` returns the files that match a path with `*`.
    pub(super) fn add_copies(
        &mut self,
        settings: &Settings,
        matching: &dyn Fn(&AbsolutePath) -> Vec<AbsolutePath>,
    ) -> Result<(), CatalogError> {
        let originals = self.credentials.len();
        for own in &settings.copies {
            let original = self.original(own, originals)?;
            self.check_name(own)?;
            match &own.location {
                Location::Kubeconfig(pattern) if own.means_several() => {
                    self.add_all(own, pattern, &original, matching)
                }
                location => {
                    self.check_copy(own, location)?;
                    let name = own
                        .name
                        .clone()
                        .unwrap_or_else(|| self.free_name(None, location.certificate_file()));
                    self.add_copy(name, location.clone(), CopyOf { original, found: false });
                }
            }
        }
        Ok(())
    }

    fn original(&self, own: &OwnCopy, originals: usize) -> Result<CredentialName, CatalogError> {
        let all = || self.credentials.iter().take(originals);
        let is_it =
            |one: &&Credential| one.name == own.of || one.kubeadm_name.as_ref() == Some(&own.of);
        // Two that share all their files are joined under the name of the first.
        let joined = self.notes.iter().find_map(|note| match note {
            Note::Shared { joined, kept, .. } if *joined == own.of => Some(kept.clone()),
            _ => None,
        });
        all().find(is_it).map(|one| one.name.clone()).or(joined).ok_or_else(|| {
            let known = all().map(|one| one.name.to_string()).collect::<Vec<_>>().join(", ");
            CatalogError::UnknownOriginal { origin: own.origin.clone(), of: own.of.clone(), known }
        })
    }

    fn check_name(&self, own: &OwnCopy) -> Result<(), CatalogError> {
        match &own.name {
            Some(name) if self.is_taken(name) => {
                Err(CatalogError::CopyNamed { origin: own.origin.clone(), name: name.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check_copy(&self, own: &OwnCopy, location: &Location) -> Result<(), CatalogError> {
        match location.files().find_map(|file| Some((file, self.lives_in(file)?))) {
            Some((file, other)) => Err(CatalogError::CopyInPlace {
                origin: own.origin.clone(),
                file: file.clone(),
                other: other.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Adds all files of a pattern. A file of a listed credential is left out: that the pattern
    /// matches it too is no error.
    fn add_all(
        &mut self,
        own: &OwnCopy,
        pattern: &AbsolutePath,
        original: &CredentialName,
        matching: &dyn Fn(&AbsolutePath) -> Vec<AbsolutePath>,
    ) {
        let found = matching(pattern);
        if found.len() > MAX_MATCHES {
            self.notes.push(Note::TooMany { pattern: pattern.clone(), most: MAX_MATCHES });
        }
        for file in found.into_iter().take(MAX_MATCHES) {
            if self.lives_in(&file).is_none() {
                let name = match &own.name {
                    None => self.free_name(None, &file),
                    Some(name) => self.free_name(Some((name, pattern)), &file),
                };
                self.add_copy(
                    name,
                    Location::Kubeconfig(file),
                    CopyOf { original: original.clone(), found: true },
                );
            }
        }
    }

    /// Adds a copy. It is never needed, and it does not matter which authority signs the original.
    fn add_copy(&mut self, name: CredentialName, location: Location, of: CopyOf) {
        let renewal = Renewal::Copy(of);
        self.credentials.push(Credential {
            name,
            kubeadm_name: None,
            location,
            authority: None,
            renewal,
            need: Need::Optional,
        });
    }

    fn lives_in(&self, file: &AbsolutePath) -> Option<&CredentialName> {
        let lives = |one: &&Credential| one.location.files().any(|mine| mine == file);
        self.credentials.iter().find(lives).map(|one| &one.name)
    }

    fn is_taken(&self, name: &CredentialName) -> bool {
        self.credentials
            .iter()
            .any(|one| one.name == *name || one.kubeadm_name.as_ref() == Some(name))
    }

    /// Returns a unique name: the path without its first slash; or the entry's name, and the text
    /// that each `*` stands for.
    fn free_name(
        &self,
        named: Option<(&CredentialName, &AbsolutePath)>,
        file: &AbsolutePath,
    ) -> CredentialName {
        let text = match named {
            None => file.to_string(),
            Some((name, pattern)) => {
                let both = pattern.as_path().iter().zip(file.as_path().iter());
                let stars = both
                    .filter(|(pattern, _)| *pattern == "*")
                    .map(|(_, name)| name.to_string_lossy().into_owned());
                [name.to_string()].into_iter().chain(stars).collect::<Vec<_>>().join("/")
            }
        };
        self.unique_name(&text)
    }

    /// Returns a name that no credential has, made of a text.
    pub(super) fn unique_name(&self, text: &str) -> CredentialName {
        let plain = plain(text);
        let numbered = (1..).map(|number| match number {
            1 => shortened(&plain, ""),
            number => shortened(&plain, &format!("-{number}")),
        });
        // There are fewer credentials than numbers.
        numbered
            .flatten()
            .find(|name| !self.is_taken(name))
            .unwrap_or_else(|| CredentialName::constant("copy"))
    }
}

/// Replaces the characters that a name may not have.
fn plain(text: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/') { c } else { '_' }
    };
    let mut plain: String = text.chars().map(allowed).collect();
    while plain.contains("..") || plain.contains("//") {
        plain = plain.replace("..", "._").replace("//", "/");
    }
    plain
}

/// Keeps the end of a path, which identifies it better than its beginning.
fn shortened(plain: &str, number: &str) -> Option<CredentialName> {
    let room = MAX_NAME_LENGTH - number.len().min(MAX_NAME_LENGTH);
    let cut = plain.get(plain.len().saturating_sub(room)..).unwrap_or(plain);
    let trimmed = cut.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let trimmed = if trimmed.is_empty() { "copy" } else { trimmed };
    CredentialName::new(format!("{trimmed}{number}")).ok()
}

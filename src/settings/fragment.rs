//! Parts that the entries of the configuration and those of a profile have in common: the location
//! of a credential, unique names, and the error of an entry.

use std::collections::BTreeMap;

use super::error::{Entry, EntryProblem, SettingsError};
use super::origin::Origin;
use crate::model::{AbsolutePath, Location};

pub(super) fn wrong(
    table: &'static str,
    name: Option<String>,
    origin: Origin,
    problem: EntryProblem,
) -> SettingsError {
    SettingsError::Entry { origin, entry: Entry { table, name }, problem }
}

/// Makes a location of the four keys, of which exactly one, or the pair of the first two, has to be
/// given.
pub(super) fn location(
    certificate: Option<AbsolutePath>,
    key: Option<AbsolutePath>,
    kubeconfig: Option<AbsolutePath>,
    bundle: Option<AbsolutePath>,
) -> Result<Location, EntryProblem> {
    match (certificate, key, kubeconfig, bundle) {
        (Some(certificate), Some(key), None, None) => Ok(Location::Pair { certificate, key }),
        (None, None, Some(file), None) => Ok(Location::Kubeconfig(file)),
        (None, None, None, Some(file)) => Ok(Location::Bundle(file)),
        (Some(_), None, None, None) => Err(EntryProblem::Missing("key")),
        (None, Some(_), None, None) => Err(EntryProblem::Missing("certificate")),
        (None, None, None, None) => Err(EntryProblem::NoLocation),
        _ => Err(EntryProblem::ManyLocations),
    }
}

/// Refuses the second entry of the same name.
pub(super) fn unique<'a>(
    table: &'static str,
    entries: impl Iterator<Item = (&'a str, &'a Origin)>,
) -> Result<(), SettingsError> {
    let mut seen = BTreeMap::new();
    for (name, origin) in entries {
        if let Some(first) = seen.insert(name, origin) {
            let entry = Entry { table, name: Some(name.to_owned()) };
            return Err(SettingsError::Duplicate {
                entry,
                first: first.clone(),
                second: origin.clone(),
            });
        }
    }
    Ok(())
}

pub(super) type Wrong<'a> = &'a dyn Fn(Option<String>, EntryProblem) -> SettingsError;

//! The names and addresses that certificates should be valid for, and are not.

use std::collections::BTreeMap;

use crate::credentials::ObservedFiles;
use crate::model::{CredentialName, Renewal};
use crate::observe::{Catalog, wanted_names};
use crate::plan::{Judged, lacking};

/// Only for certificates that are renewed here: the names of others can't be changed.
pub(super) fn names_lacking(
    root: &ObservedFiles,
    catalog: &Catalog,
    credentials: &[Judged],
) -> BTreeMap<CredentialName, Vec<String>> {
    let facts: Vec<_> = credentials.iter().map(|judged| &judged.facts).collect();
    let wanted = wanted_names(root, catalog, &facts);
    let of = |judged: &Judged| {
        let credential = &judged.facts.credential;
        let has = &judged.facts.material.leaf()?.names;
        let lacking = lacking(wanted.get(&credential.name)?, has);
        (credential.renewal == Renewal::Ours && !lacking.is_empty())
            .then(|| (credential.name.clone(), lacking))
    };
    credentials.iter().filter_map(of).collect()
}

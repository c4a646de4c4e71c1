//! Which certificates lack names that they are wanted for.

use std::collections::BTreeMap;

use crate::model::{CredentialName, Renewal};
use crate::observe::{Node, wanted_names};
use crate::plan::{Judged, lacking};

/// Of those that are renewed here: nobody else's can be given other names.
pub(super) fn names_lacking(
    node: &Node,
    credentials: &[Judged],
) -> BTreeMap<CredentialName, Vec<String>> {
    let wanted =
        wanted_names(node, &credentials.iter().map(|judged| &judged.facts).collect::<Vec<_>>());
    let of = |judged: &Judged| {
        let credential = &judged.facts.credential;
        let has = &judged.facts.material.leaf()?.names;
        let lacking = lacking(wanted.get(&credential.name)?, has);
        (credential.renewal == Renewal::Ours && !lacking.is_empty())
            .then(|| (credential.name.clone(), lacking))
    };
    credentials.iter().filter_map(of).collect()
}

//! What differs between the control-plane nodes of a cluster and should not.

use std::collections::BTreeMap;

use super::node_report::is_silent;
use crate::model::{
    Fingerprint, Fingerprints, FoundReport, NodeRole, ReportedNode, SharedFile, Timestamp,
};

/// The most nodes that are named of those that have the same content.
const MAX_NAMES: usize = 5;

/// What control-plane nodes have, compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What differs.
    pub differences: Vec<Difference>,
    /// Whether each control-plane node that ever reported was compared.
    pub complete: bool,
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file.
    pub file: SharedFile,
    /// The nodes that have each content.
    pub nodes: BTreeMap<Fingerprint, Vec<String>>,
}

impl Difference {
    /// Which nodes have which content: `3f2a... on cp1, cp2; 91bc... on cp3`.
    #[must_use]
    pub fn text(&self) -> String {
        let groups = self.nodes.iter().map(|(fingerprint, names)| {
            let more = names.len().saturating_sub(MAX_NAMES);
            let names: Vec<_> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{fingerprint} on {}{more}", names.join(", "))
        });
        groups.collect::<Vec<_>>().join("; ")
    }
}

/// Compares the control-plane nodes. Only a label makes a node one of them: a kubelet can write any
/// report, and can't set the label. `own` is this node, as its files are now, in the place of its
/// report.
#[must_use]
pub fn compare(
    own: Option<(&str, &Fingerprints)>,
    nodes: &[ReportedNode],
    now: Timestamp,
) -> Comparison {
    let is_other = |node: &&ReportedNode| {
        node.role == NodeRole::ControlPlane && own.is_none_or(|(name, _)| name != node.name)
    };
    let mut compared: Vec<(&str, &Fingerprints)> = own.into_iter().collect();
    let mut complete = true;
    for node in nodes.iter().filter(is_other) {
        match &node.report {
            FoundReport::Read(report) if !is_silent(report, now) => {
                compared.push((&node.name, &report.fingerprints));
            }
            FoundReport::Read(_) | FoundReport::Unreadable(_) => complete = false,
            FoundReport::Absent => {}
        }
    }
    let differences = SharedFile::ALL.iter().filter_map(|file| difference(*file, &compared));
    Comparison { differences: differences.collect(), complete }
}

fn difference(file: SharedFile, compared: &[(&str, &Fingerprints)]) -> Option<Difference> {
    let mut nodes = BTreeMap::<Fingerprint, Vec<String>>::new();
    for (name, fingerprints) in compared {
        if let Some(fingerprint) = fingerprints.of(file) {
            nodes.entry(fingerprint).or_default().push((*name).to_owned());
        }
    }
    (nodes.len() > 1).then_some(Difference { file, nodes })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Digest, NodeReport};
    use crate::plan::node_report::tests::report;
    use crate::plan::service_fixtures::now;

    fn fingerprint(text: &str) -> Fingerprint {
        Digest::of(text.as_bytes()).into()
    }

    pub(in crate::plan) fn having(ca: &str) -> Fingerprints {
        Fingerprints { ca: Some(fingerprint(ca)), ..Fingerprints::default() }
    }

    pub(in crate::plan) fn node(name: &str, ca: &str) -> ReportedNode {
        let report = NodeReport { fingerprints: having(ca), ..report() };
        let report = FoundReport::Read(Box::new(report));
        ReportedNode { name: name.to_owned(), role: NodeRole::ControlPlane, report }
    }

    #[test]
    fn differing_file_is_found_with_its_nodes() {
        let nodes = [node("cp1", "old"), node("cp2", "a"), node("cp3", "b")];
        // The own report is older than the file.
        let own = having("a");
        let comparison = compare(Some(("cp1", &own)), &nodes, now());
        assert!(comparison.complete);
        let [Difference { file, nodes }] = comparison.differences.as_slice() else { panic!() };
        assert_eq!(*file, SharedFile::Ca);
        let names = |ca: &str| nodes.get(&fingerprint(ca)).cloned().unwrap_or_default();
        assert_eq!((names("a").join(" "), names("b").join(" ")), ("cp1 cp2".into(), "cp3".into()));
        let text = comparison.differences[0].text();
        assert_eq!(
            text,
            "3e23e8160039594a33894f6564e1b134 on cp3; ca978112ca1bbdcafac231b39a23dc4d on cp1, cp2"
        );
    }

    #[test]
    fn only_labelled_nodes_with_recent_reports_are_compared() {
        let own = having("a");
        let mut worker = node("w1", "b");
        worker.role = NodeRole::Worker;
        let with = |report| ReportedNode { report, ..node("cp2", "") };
        let old = NodeReport { at: Timestamp::MIN, fingerprints: having("b"), ..report() };
        for (node, complete) in [
            (worker, true),
            (with(FoundReport::Absent), true),
            (with(FoundReport::Unreadable("x".to_owned())), false),
            (with(FoundReport::Read(Box::new(old))), false),
        ] {
            let expected = Comparison { differences: Vec::new(), complete };
            assert_eq!(compare(Some(("cp1", &own)), &[node], now()), expected);
        }
    }

    #[test]
    fn many_nodes_are_counted() {
        let mut nodes: Vec<_> = (0..7).map(|at| node(&format!("cp{at}"), "a")).collect();
        nodes.push(node("cp9", "b"));
        let comparison = compare(None, &nodes, now());
        let text = comparison.differences[0].text();
        assert!(text.ends_with("on cp0, cp1, cp2, cp3, cp4 and 2 more"), "{text}");
    }
}

//! How far the cluster and this node are with a rotation of the root CA. There are no samples while
//! none is under way.

use super::format::{Family, Sample, Value};
use crate::model::RotationLevel;
use crate::pass::rotation::RotationReport;

pub(super) fn families(rotation: Option<&RotationReport>) -> [Family; 2] {
    let levels = rotation.map(|found| levels(found.agreement.to)).unwrap_or_default();
    let done = rotation.map(|found| Sample::alone(Value::flag(found.is_done)));
    [
        Family::gauge(
            "kubecertd_root_ca_level",
            "The level of a rotation of the root CA that the nodes go to, or have.",
            levels,
        ),
        Family::gauge(
            "kubecertd_root_ca_level_reached",
            "Whether this node has that level.",
            done.into_iter().collect(),
        ),
    ]
}

/// One sample for each level.
fn levels(present: RotationLevel) -> Vec<Sample> {
    let all = RotationLevel::ALL.into_iter().chain([RotationLevel::Renewed]);
    let sample = |level: RotationLevel| Sample {
        labels: vec![("level", level.as_str().to_owned())],
        value: Value::flag(level == present),
    };
    all.map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Agreement;
    use crate::report::metrics::format::{Format, text};

    #[test]
    fn level_of_a_rotation_is_shown_while_there_is_one() {
        let shown = |found| text(families(found).into(), Format::Classic).unwrap();
        assert!(!shown(None).contains("kubecertd_root_ca_level{"));
        let agreement =
            Agreement { generation: 7, from: RotationLevel::Trusted, to: RotationLevel::Clients };
        let rotation = RotationReport {
            agreement,
            goal: RotationLevel::Servers,
            is_done: true,
            made: Vec::new(),
            waits: None,
            nodes: Vec::new(),
            objects: Vec::new(),
            held: None,
            is_paused: false,
            is_over: false,
        };
        let text = shown(Some(&rotation));
        assert!(text.contains("kubecertd_root_ca_level{level=\"clients\"} 1"), "{text}");
        assert!(text.contains("kubecertd_root_ca_level{level=\"trusted\"} 0"), "{text}");
        assert!(text.contains("kubecertd_root_ca_level_reached 1"), "{text}");
    }
}

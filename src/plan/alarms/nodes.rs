//! The alarms about this node among those of its cluster: they are judged by an exchange with the
//! API, not by a pass.

use std::collections::BTreeMap;
use std::time::Duration;

use super::situation::AlarmAssessment;
use crate::model::{Alarm, AlarmKind, AlarmMemory, LongDifference, SharedFile, Timestamp};
use crate::plan::{Comparison, Difference};

/// A difference of less than this is a passing one: the nodes are changed one after the other.
const PASSING: Duration = Duration::from_secs(3_600);

/// How far the node's clock may be from the API server's, in seconds.
const MAX_OFFSET: u64 = 60;

/// What an exchange with the API found.
#[derive(Clone, Copy, Debug)]
pub struct NodeFindings<'f> {
    /// The host's name.
    pub host: &'f str,
    /// The present time.
    pub now: Timestamp,
    /// How far the clock is ahead of the API server's, in seconds, where that was found.
    pub offset: Option<i64>,
    /// What control-plane nodes have, where it could be compared.
    pub comparison: Option<&'f Comparison>,
}

/// The alarms that are true as far as an exchange with the API goes. Notes the differences.
#[must_use]
pub fn node_alarms(found: &NodeFindings<'_>, memory: &mut AlarmMemory) -> AlarmAssessment {
    let known = [AlarmKind::NodesDiffer, AlarmKind::ClockDiffers];
    let mut assessment = AlarmAssessment::default();
    assessment.unseen(AlarmKind::ALL.iter().copied().filter(|kind| !known.contains(kind)));
    match found.offset {
        None => assessment.unseen([AlarmKind::ClockDiffers]),
        Some(offset) if offset.unsigned_abs() > MAX_OFFSET => {
            assessment.alarms.push(clock_differs(found, offset));
        }
        Some(_) => {}
    }
    let Some(comparison) = found.comparison else {
        assessment.unseen([AlarmKind::NodesDiffer]);
        return assessment;
    };
    if !comparison.complete {
        assessment.unseen([AlarmKind::NodesDiffer]);
    }
    note_differences(memory, &comparison.differences, found.now);
    let lasts = |difference: &&Difference| {
        let noted = memory.differing.get(&difference.file);
        noted.is_some_and(|noted| found.now >= noted.since.plus(PASSING))
    };
    let lasting = comparison.differences.iter().filter(lasts);
    assessment.alarms.extend(lasting.map(|difference| nodes_differ(found, difference)));
    assessment
}

/// Keeps since when each file has differed in the same way.
fn note_differences(memory: &mut AlarmMemory, differences: &[Difference], now: Timestamp) {
    let before = std::mem::take(&mut memory.differing);
    let noted = differences.iter().map(|difference| {
        let fingerprints: Vec<_> = difference.nodes.keys().copied().collect();
        let known = before.get(&difference.file);
        let known = known.filter(|known| known.fingerprints == fingerprints && known.since <= now);
        let since = known.map_or(now, |known| known.since);
        (difference.file, LongDifference { fingerprints, since })
    });
    memory.differing = noted.collect::<BTreeMap<_, _>>();
}

fn clock_differs(found: &NodeFindings<'_>, offset: i64) -> Alarm {
    let (seconds, side) = (offset.unsigned_abs(), if offset > 0 { "ahead of" } else { "behind" });
    Alarm {
        kind: AlarmKind::ClockDiffers,
        entity: format!("host={}", found.host),
        about: Vec::new(),
        text: format!(
            "The clock of this node is more than {MAX_OFFSET} s {side} the API server's."
        ),
        reason: format!("it is {seconds} s {side} the time in the API server's answer"),
        repair: "Check the clocks of this node and of the control-plane nodes (timedatectl; \
            chronyc tracking), and correct the wrong one: certificates and tokens may not be \
            valid yet, or not any more, for the node whose clock is wrong."
            .to_owned(),
        raised: found.now,
    }
}

fn nodes_differ(found: &NodeFindings<'_>, difference: &Difference) -> Alarm {
    let file = difference.file.as_str();
    let (effect, repair) = advice(difference.file);
    Alarm {
        kind: AlarmKind::NodesDiffer,
        entity: format!("cluster={file}"),
        about: vec![file.to_owned()],
        text: format!("{file} is not the same on all control-plane nodes: {}.", difference.text()),
        reason: format!("{effect}; the numbers are the beginnings of SHA-256 digests"),
        repair: repair.to_owned(),
        raised: found.now,
    }
}

/// The effect of a difference, and what to do.
fn advice(file: SharedFile) -> (&'static str, &'static str) {
    match file {
        SharedFile::Ca => (
            "programs of one node may not trust the certificates of another one",
            "Compare the files (kubecertd ca show on each node), and copy the right ca.crt and \
             ca.key to the other nodes; then restart their control-plane pods.",
        ),
        SharedFile::FrontProxyCa => (
            "an aggregated API, such as metrics-server, may refuse the requests of some API \
             servers",
            "Compare the files (kubecertd ca show --ca front-proxy-ca on each node), and copy the \
             right front-proxy-ca.crt and front-proxy-ca.key to the other nodes; then run \
             kubecertd renew front-proxy-client --force there, and restart kube-apiserver.",
        ),
        SharedFile::ServiceAccount => (
            "tokens of service accounts that are signed on one node are refused on another one",
            "Copy sa.key and sa.pub from the node whose tokens are in use to the other nodes, and \
             restart kube-apiserver and kube-controller-manager there.",
        ),
        SharedFile::Kubeconfigs => (
            "programs of one node trust other CA certificates than those of another one",
            "Compare what they trust (kubecertd check on each node), and put what kubecertd ca \
             export prints into certificate-authority-data of those that lack it.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::compare;
    use crate::plan::node_differences::tests::{having, node};
    use crate::plan::service_fixtures::now;

    fn later(seconds: u64) -> Timestamp {
        now().plus(Duration::from_secs(seconds))
    }

    fn raised(
        memory: &mut AlarmMemory,
        at: Timestamp,
        offset: Option<i64>,
        comparison: Option<&Comparison>,
    ) -> (Vec<String>, AlarmAssessment) {
        let found = NodeFindings { host: "cp1", now: at, offset, comparison };
        let assessment = node_alarms(&found, memory);
        let keys = assessment.alarms.iter().map(|alarm| format!("{} {}", alarm.kind, alarm.entity));
        (keys.collect(), assessment.clone())
    }

    fn differing(other: &str) -> Comparison {
        compare(Some(("cp1", &having("a"))), &[node("cp2", other)], now())
    }

    #[test]
    fn difference_is_alarmed_when_it_lasts() {
        let mut memory = AlarmMemory::default();
        let mut at =
            |seconds, other| raised(&mut memory, later(seconds), None, Some(&differing(other))).0;
        assert!(at(0, "b").is_empty());
        assert!(at(3_599, "b").is_empty());
        assert_eq!(at(3_600, "b"), ["nodes-differ cluster=ca.crt"]);
        assert!(at(3_601, "c").is_empty(), "it was changed again meanwhile");
        assert_eq!(at(7_201, "c"), ["nodes-differ cluster=ca.crt"]);
        assert!(at(7_202, "a").is_empty());
        assert!(memory.differing.is_empty());
    }

    #[test]
    fn clock_set_back_begins_again() {
        let mut memory = AlarmMemory::default();
        let ahead = raised(&mut memory, later(1_000_000), None, Some(&differing("b"))).0;
        assert!(ahead.is_empty());
        assert!(raised(&mut memory, now(), None, Some(&differing("b"))).0.is_empty());
        let alarms = raised(&mut memory, later(3_600), None, Some(&differing("b"))).0;
        assert_eq!(alarms, ["nodes-differ cluster=ca.crt"]);
    }

    #[test]
    fn clock_is_alarmed_beyond_a_minute() {
        let memory = &mut AlarmMemory::default();
        for (offset, count) in [(60, 0), (61, 1), (-60, 0), (-61, 1), (i64::MIN, 1)] {
            let (alarms, _) = raised(memory, now(), Some(offset), None);
            assert_eq!(alarms, vec!["clock-differs host=cp1"; count], "{offset}");
        }
    }

    #[test]
    fn alarms_of_what_was_not_found_stay_as_they_are() {
        let memory = &mut AlarmMemory::default();
        let unseen = |offset, comparison: Option<&Comparison>, memory: &mut AlarmMemory| {
            let assessment = raised(memory, now(), offset, comparison).1;
            assert!(assessment.unseen.contains(&(AlarmKind::Expired, None)));
            let has = |kind| assessment.unseen.contains(&(kind, None));
            (has(AlarmKind::ClockDiffers), has(AlarmKind::NodesDiffer))
        };
        assert_eq!(unseen(None, None, memory), (true, true));
        assert_eq!(unseen(Some(0), Some(&differing("a")), memory), (false, false));
        let incomplete = Comparison { complete: false, ..differing("a") };
        assert_eq!(unseen(Some(0), Some(&incomplete), memory), (false, true));
    }
}

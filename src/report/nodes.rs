//! The report of this node to its cluster, and the comparison with the other nodes: an exchange
//! with the API after a pass, which no pass waits for.
//!
//! The report is written with kubelet's own identity. Where admin.conf is on the node, the reports
//! of the control-plane nodes are read with it: kubelet may not read other Nodes.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::alarms::{AlarmChanges, update_after_exchange};
use super::{AlarmLedger, FinishedPass};
use crate::cluster::{ClusterApi, ClusterError, Dated};
use crate::model::{
    AbsolutePath, FoundReport, Freshness, NodeProgress, NodeReport, NodeRole, Renewal,
    ReportedNode, Timestamp,
};
use crate::observe::{Node, fingerprints, host_name, node_name, node_role};
use crate::pass::{Report, ServicesReport, Survey};
use crate::plan::{
    Comparison, CredentialCounts, NodeFindings, compare, count_alarms, count_credentials,
    is_to_send,
};
use crate::sys::{Clock, block_on};

/// The time limit of what is read.
const READ_LIMIT: Duration = Duration::from_secs(7);

/// The time limit of what is written.
const WRITE_LIMIT: Duration = Duration::from_secs(3);

/// The node as a report of it shows it, after a pass or at the start of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedPass {
    /// The node's name in the cluster, where it is known.
    node: Option<String>,
    credentials: CredentialCounts,
    /// The last pass; `None` before the first one, when the Node holds the report of an earlier
    /// process.
    last: Option<PassOutcome>,
}

/// What a report says of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PassOutcome {
    began: Timestamp,
    failed: bool,
    /// How many services used an outdated credential at its end.
    stale: u32,
    /// How far it is with a rotation of the root CA.
    rotation: Option<NodeProgress>,
}

impl ReportedPass {
    /// A finished pass; `None` where not even a look at the node was possible.
    #[must_use]
    pub fn of(finished: &FinishedPass) -> Option<Self> {
        let (survey, _) = finished.survey()?;
        let (began, failed) = (finished.last.began, finished.last.is_bad());
        Some(Self::new(survey, finished.report(), began, failed))
    }

    /// A pass by its last survey, and its report where it was made.
    #[must_use]
    pub fn new(survey: &Survey, report: Option<&Report>, began: Timestamp, failed: bool) -> Self {
        let stale = report.map_or(0, |report| count_stale(&report.services));
        let rotation = report
            .and_then(|report| report.rotation.as_ref())
            .map(|one| NodeProgress { generation: one.agreement.generation, is_done: one.is_done });
        let last = Some(PassOutcome { began, failed, stale, rotation });
        Self { last, ..Self::before_any(survey) }
    }

    /// The node before the first pass of this process.
    #[must_use]
    pub fn before_any(survey: &Survey) -> Self {
        Self {
            node: node_name(survey.credentials.iter().map(|judged| &judged.facts)),
            credentials: count_credentials(&survey.credentials),
            last: None,
        }
    }
}

impl PassOutcome {
    /// What an earlier process reported.
    fn reported(found: &FoundReport) -> Option<Self> {
        let NodeReport { pass: began, failed, stale, rotation, .. } = *found.read()?;
        Some(Self { began, failed, stale, rotation })
    }
}

/// Counts the services that use an outdated credential at the end of a pass.
fn count_stale(services: &ServicesReport) -> u32 {
    let stale = services.found.list.iter().filter(|service| {
        !services.is_updated(&service.facts.service.name)
            && service.freshness.iter().any(|(_, one)| matches!(one, Freshness::Stale(_)))
    });
    u32::try_from(stale.count()).unwrap_or(u32::MAX)
}

/// What became of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// What changed of the alarms.
    pub alarms: AlarmChanges,
    /// Why the report could not be sent, or the nodes not be compared.
    pub trouble: Vec<String>,
    /// Whether control-plane nodes differ, so that they are to be compared again soon.
    pub differs: bool,
}

/// Sends the report of this node where it changed, compares the control-plane nodes, and updates
/// the alarms about them. Blocks for ten seconds at most. On another root directory than this
/// system's, it does nothing.
#[must_use]
pub fn exchange(
    node: &Node,
    pass: &ReportedPass,
    ledger: &AlarmLedger,
    clock: &dyn Clock,
) -> Exchanged {
    if !node.root.is_host() {
        return Exchanged::default();
    }
    let (Some(name), Some(kubelet_conf)) = (&pass.node, kubelet_conf(node)) else {
        tracing::debug!("no report is sent: kubelet's kubeconfig or node is not known here");
        return Exchanged::default();
    };
    let own = node.catalog.api_server_url.as_deref();
    match block_on(ClusterApi::of_kubeconfig(&node.root, kubelet_conf, own)) {
        Ok(Ok(api)) => Exchange { node, name, pass, ledger, clock, api }.run(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no report is sent: kubelet can't log in");
            Exchanged::default()
        }
        Err(e) => Exchanged { trouble: vec![e.to_string()], ..Exchanged::default() },
    }
}

/// The kubeconfig of kubelet.
fn kubelet_conf(node: &Node) -> Option<&AbsolutePath> {
    let catalog = &node.catalog;
    let mut watched = catalog.credentials.iter().filter(|one| one.renewal == Renewal::Kubelet);
    watched.find_map(|client| {
        let kubeconfig = catalog.kubeconfigs.get(&client.name);
        kubeconfig.or_else(|| client.location.kubeconfig())
    })
}

/// An exchange that has the clients of the API.
struct Exchange<'e> {
    node: &'e Node,
    name: &'e str,
    pass: &'e ReportedPass,
    ledger: &'e AlarmLedger,
    clock: &'e dyn Clock,
    api: ClusterApi,
}

/// What was read of the cluster.
struct Found {
    own: Result<Dated<Option<ReportedNode>>, ClusterError>,
    /// The control-plane nodes; `None` on a node that can't read them.
    others: Option<Result<Dated<Vec<ReportedNode>>, ClusterError>>,
    /// How far the clock of this node is ahead of the API server's, in seconds.
    offset: Option<i64>,
}

impl Exchange<'_> {
    fn run(&self) -> Exchanged {
        let found = match block_on(self.read()) {
            Ok(found) => found,
            Err(e) => return Exchanged { trouble: vec![e.to_string()], ..Exchanged::default() },
        };
        let (offset, now) = (found.offset, self.clock.now());
        let role = node_role(self.node);
        let fingerprints = match role {
            NodeRole::ControlPlane => fingerprints(self.node),
            NodeRole::Worker => Default::default(),
        };
        let others = found.others.as_ref().and_then(|others| others.as_ref().ok());
        let comparison =
            others.map(|others| compare(Some((self.name, &fingerprints)), &others.answer, now));
        let alarms = self.update_alarms(offset, comparison.as_ref());
        let report = |PassOutcome { began, failed, stale, rotation }| NodeReport {
            rotation,
            at: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role,
            pass: began,
            failed,
            next: self.pass.credentials.next.clone(),
            due: self.pass.credentials.due,
            expired: self.pass.credentials.expired,
            stale,
            alarms: count_alarms(&alarms.in_force),
            clock: offset.map(tens),
            fingerprints: fingerprints.clone(),
        };
        let not_sent = self.send(found.own, report).err();
        let not_sent = not_sent.map(|e| {
            format!("the report of this node was not written into its Node {}: {e}", self.name)
        });
        let not_compared = found.others.and_then(Result::err);
        let not_compared = not_compared
            .map(|e| format!("this node was not compared with other control-plane nodes: {e}"));
        let differs = comparison.is_some_and(|found| !found.differences.is_empty());
        Exchanged { alarms, trouble: not_sent.into_iter().chain(not_compared).collect(), differs }
    }

    async fn read(&self) -> Found {
        let deadline = Instant::now() + READ_LIMIT;
        let late = || ClusterError::Away(format!("no answer within {} s", READ_LIMIT.as_secs()));
        let own = async {
            let own = timeout_at(deadline, self.api.node(self.name)).await;
            (own.unwrap_or_else(|_| Err(late())), self.clock.now())
        };
        let others = async {
            let others = timeout_at(deadline, self.control_plane_nodes()).await;
            (others.unwrap_or_else(|_| Some(Err(late()))), self.clock.now())
        };
        let ((own, own_at), (others, others_at)) = tokio::join!(own, others);
        let of_others = others.as_ref().and_then(|others| others.as_ref().ok()?.date);
        let of_own = own.as_ref().ok().and_then(|own| own.date);
        let offset = of_others
            .map(|date| others_at.seconds_since(date))
            .or_else(|| Some(own_at.seconds_since(of_own?)));
        Found { own, others, offset }
    }

    /// Asks an API server of another node where there is one: the own one has the own clock.
    async fn control_plane_nodes(&self) -> Option<Result<Dated<Vec<ReportedNode>>, ClusterError>> {
        let catalog = &self.node.catalog;
        let admin = catalog.administrator()?;
        let api = ClusterApi::open(&self.node.root, admin, catalog.api_server_url.as_deref()).await;
        match api {
            Ok(api) => Some(api.control_plane_nodes().await),
            // It is no fault: an administrator may have taken it away from the node.
            Err(ClusterError::NoAdminConf) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn update_alarms(&self, offset: Option<i64>, comparison: Option<&Comparison>) -> AlarmChanges {
        let host = host_name(&self.node.root);
        let found = NodeFindings { host: &host, now: self.clock.now(), offset, comparison };
        update_after_exchange(self.ledger, self.node, &found)
    }

    /// Writes the report, unless the Node holds the same. Before the first pass of this process it
    /// says of the last pass what the Node says, and nothing is written where that has no report.
    fn send(
        &self,
        own: Result<Dated<Option<ReportedNode>>, ClusterError>,
        report: impl FnOnce(PassOutcome) -> NodeReport,
    ) -> Result<(), String> {
        let own = own.map_err(|e| e.to_string())?.answer;
        let before = own.map(|own| own.report).ok_or("there is no such Node")?;
        let Some(last) = self.pass.last.or_else(|| PassOutcome::reported(&before)) else {
            return Ok(());
        };
        let report = report(last);
        if !is_to_send(&before, &report) {
            return Ok(());
        }
        if let FoundReport::Unreadable(reason) = &before {
            tracing::debug!(%reason, "the report of this node is replaced");
        }
        let limited = async {
            let sent = self.api.write_report(self.name, &report);
            timeout_at(Instant::now() + WRITE_LIMIT, sent).await
        };
        match block_on(limited).map_err(|e| e.to_string())? {
            Ok(sent) => sent.map_err(|e| e.to_string()),
            Err(_) => Err(format!("no answer within {} s", WRITE_LIMIT.as_secs())),
        }
    }
}

/// Rounds to ten seconds, so that a second more or less is no other report.
fn tens(seconds: i64) -> i64 {
    (seconds.saturating_add(5 * seconds.signum()) / 10).saturating_mul(10)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use tokio::task::spawn_blocking;

    use super::*;
    use crate::act::refresh::{RefreshError, RefreshOutcome, Refreshed};
    use crate::cluster::tests::{Cluster, local};
    use crate::common::trees::copy;
    use crate::formats::node_report::{read, write};
    use crate::model::{Digest, Fingerprints, ServiceMemory, ServiceName, Takes};
    use crate::observe::Config;
    use crate::pass::Services;
    use crate::plan::judge_service;
    use crate::plan::service_fixtures::{UP, appeared_at, content, judged, now, on_disk, service};
    use crate::sys::{FixedClock, Root};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

    #[test]
    fn offset_is_rounded_to_ten_seconds() {
        let rounded = [0, 4, 5, -4, -5, 64, 65, i64::MAX].map(tens);
        assert_eq!(rounded, [0, 0, 10, 0, -10, 60, 70, i64::MAX / 10 * 10]);
    }

    /// Each service as it was found: with an old certificate that it reads only when it starts.
    #[test]
    fn service_that_was_updated_in_the_pass_is_not_stale() {
        let mut memory = ServiceMemory::default();
        memory.appeared.insert(content("scheduler.conf"), appeared_at("new", UP - 20, Some(now())));
        let credentials = [judged("scheduler.conf", "new")];
        let found = |one: &str| {
            let facts = service(one, "scheduler.conf", Takes::Restart, 1);
            judge_service(&facts, on_disk(&credentials), &memory, now())
        };
        let list = vec![found("kube-scheduler"), found("other")];
        let mut services =
            ServicesReport { found: Services { list, ..Default::default() }, outcomes: vec![] };
        assert_eq!(count_stale(&services), 2);
        let outcome = |result| RefreshOutcome {
            service: ServiceName::new("kube-scheduler").unwrap(),
            restarted: true,
            result,
        };
        services.outcomes = vec![outcome(Err(RefreshError::Stopped))];
        assert_eq!(count_stale(&services), 2);
        services.outcomes = vec![outcome(Ok(Refreshed::Closed { connections: 1 }))];
        assert_eq!(count_stale(&services), 1);
    }

    /// A control-plane node whose kubeconfigs lead to a cluster.
    fn disk(cluster: &Cluster) -> tempfile::TempDir {
        let fixture = "tests/fixtures/kubeadm-1.36-ecdsa-p256";
        let disk = tempfile::tempdir().unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture), disk.path());
        for name in ["kubelet.conf", "admin.conf"] {
            cluster.adopt(&disk.path().join("etc/kubernetes").join(name));
        }
        disk
    }

    fn open(disk: &Path) -> Node {
        Node::open(Root::open(disk).unwrap(), &Config::Usual).unwrap()
    }

    /// Makes an exchange of the node `cp1` after a pass.
    async fn exchanged(disk: &Path, now: Timestamp) -> Exchanged {
        exchanged_after(disk, now, ReportedPass::new(&Survey::default(), None, now, false)).await
    }

    /// Makes an exchange of the node `cp1`, as if its root directory were the host's.
    async fn exchanged_after(disk: &Path, now: Timestamp, pass: ReportedPass) -> Exchanged {
        let disk: PathBuf = disk.to_owned();
        let work = move || {
            let node = open(&disk);
            let file = kubelet_conf(&node).unwrap();
            let api = block_on(ClusterApi::of_kubeconfig(&node.root, file, None));
            let api = api.unwrap().unwrap();
            let (ledger, clock) = (AlarmLedger::default(), FixedClock(now));
            let (name, ledger, clock) = ("cp1", &ledger, &clock);
            Exchange { node: &node, name, pass: &pass, ledger, clock, api }.run()
        };
        spawn_blocking(work).await.unwrap()
    }

    fn keys(exchanged: &Exchanged) -> Vec<String> {
        let alarms = exchanged.alarms.in_force.iter();
        alarms.map(|alarm| format!("{} {}", alarm.kind, alarm.entity)).collect()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn own_report_is_written_once_while_nothing_changes() {
        local(async {
            let cluster = Cluster::start(&[]).await;
            cluster.objects.date.set(Some("Fri, 15 Jan 2027 08:00:00 GMT"));
            cluster.objects.put_node("cp1", &[CONTROL_PLANE], None);
            let disk = disk(&cluster);
            assert_eq!(exchanged(disk.path(), NOW).await, Exchanged::default());
            let (text, version) = cluster.objects.report_of("cp1");
            let report = read(&text.unwrap()).unwrap();
            let expected = fingerprints(&open(disk.path()));
            assert!(expected.ca.is_some());
            assert_eq!(
                (report.at, report.clock, report.role),
                (NOW, Some(0), NodeRole::ControlPlane)
            );
            assert_eq!(report.fingerprints, expected);
            let later = NOW.plus(Duration::from_secs(5));
            exchanged(disk.path(), later).await;
            assert_eq!(cluster.objects.report_of("cp1").1, version, "nothing changed");
            std::fs::remove_file(disk.path().join("etc/kubernetes/pki/sa.pub")).unwrap();
            exchanged(disk.path(), later).await;
            assert!(cluster.objects.report_of("cp1").1 > version);
        })
        .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn difference_that_lasts_and_wrong_clock_are_alarmed() {
        local(async {
            let cluster = Cluster::start(&[]).await;
            let disk = disk(&cluster);
            let own = fingerprints(&open(disk.path()));
            let other =
                Fingerprints { service_account: Some(Digest::of(b"another").into()), ..own };
            let put_other = |at| {
                let report = NodeReport { at, fingerprints: other.clone(), ..any_report() };
                cluster.objects.put_node("cp2", &[CONTROL_PLANE], Some(&write(&report)));
            };
            cluster.objects.put_node("cp1", &[CONTROL_PLANE], None);
            cluster.objects.date.set(Some("Fri, 15 Jan 2027 08:00:00 GMT"));
            put_other(NOW);
            let first = exchanged(disk.path(), NOW).await;
            assert!(first.differs && first.trouble.is_empty() && keys(&first).is_empty());
            let later = NOW.plus(Duration::from_secs(3_600));
            put_other(later);
            let second = exchanged(disk.path(), later).await;
            // The server's clock stands still.
            assert_eq!(
                keys(&second),
                ["nodes-differ cluster=sa.pub", "clock-differs host=localhost"]
            );
            let report = read(&cluster.objects.report_of("cp1").0.unwrap()).unwrap();
            assert_eq!((report.alarms.major, report.alarms.minor), (1, 1));
            assert_eq!(report.clock, Some(3_600));
            // What can't be read neither raises nor clears an alarm.
            cluster.objects.refuses.set(Some(403));
            let refused = exchanged(disk.path(), later).await;
            assert_eq!((refused.trouble.len(), refused.alarms.events.len()), (2, 0));
            assert_eq!(keys(&refused), keys(&second));
        })
        .await;
    }

    /// The version of an upgraded daemon is shown before its first pass, and a daemon with a rare
    /// schedule is not silent.
    #[tokio::test(flavor = "current_thread")]
    async fn restarted_daemon_reports_the_last_pass_of_the_earlier_one() {
        local(async {
            let cluster = Cluster::start(&[]).await;
            cluster.objects.date.set(Some("Fri, 15 Jan 2027 08:00:00 GMT"));
            let disk = disk(&cluster);
            let start = || ReportedPass::before_any(&Survey::default());
            cluster.objects.put_node("cp1", &[CONTROL_PLANE], None);
            let first = exchanged_after(disk.path(), NOW, start()).await;
            assert_eq!(first, Exchanged::default());
            assert_eq!(cluster.objects.report_of("cp1").0, None, "there was no pass yet");

            let earlier = NodeReport {
                version: "0.0.9".to_owned(),
                pass: NOW.minus(Duration::from_secs(86_400)),
                failed: true,
                stale: 2,
                ..any_report()
            };
            cluster.objects.put_node("cp1", &[CONTROL_PLANE], Some(&write(&earlier)));
            let later = NOW.plus(Duration::from_secs(60));
            exchanged_after(disk.path(), later, start()).await;
            let report = read(&cluster.objects.report_of("cp1").0.unwrap()).unwrap();
            assert_eq!((report.at, report.version.as_str()), (later, env!("CARGO_PKG_VERSION")));
            assert_eq!((report.pass, report.failed, report.stale), (earlier.pass, true, 2));
        })
        .await;
    }

    fn any_report() -> NodeReport {
        NodeReport {
            rotation: None,
            at: NOW,
            version: "0.1.0".to_owned(),
            role: NodeRole::ControlPlane,
            pass: NOW,
            failed: false,
            next: None,
            due: 0,
            expired: 0,
            stale: 0,
            alarms: Default::default(),
            clock: None,
            fingerprints: Fingerprints::default(),
        }
    }

    #[test]
    fn another_root_directory_reports_nothing() {
        let disk = tempfile::tempdir().unwrap();
        let pass = ReportedPass::new(&Survey::default(), None, NOW, false);
        let clock = FixedClock(NOW);
        let exchanged = exchange(&open(disk.path()), &pass, &AlarmLedger::default(), &clock);
        assert_eq!(exchanged, Exchanged::default());
    }
}

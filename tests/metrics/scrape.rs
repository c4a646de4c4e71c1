//! The real Prometheus and node_exporter read the metrics of a real daemon.

use std::collections::BTreeSet;

use serde_json::Value;

use super::common::requirements::require;
use super::common::{ECDSA, Node};
use super::harness::{CONFIG, Daemon, NEVER, schedule, with_history};
use super::programs::{Program, fetch_page, free_port, query, wait_for};

#[test]
fn prometheus_and_node_exporter_read_metrics() {
    require!("prometheus", "prometheus-node-exporter");
    let (port, own, exporter) = (free_port(), free_port(), free_port());
    let node = with_history(Node::fresh(ECDSA), NEVER);
    std::fs::create_dir(node.path("textfile")).unwrap();
    let metrics = format!(
        "[metrics]\nlisten = \"127.0.0.1:{port}\"\ntextfile = \"/textfile/kubecertd.prom\"\n"
    );
    node.write(CONFIG, schedule(NEVER) + &metrics);
    let daemon = Daemon::start(&node);
    daemon.request_pass();

    let disk = tempfile::tempdir().unwrap();
    let log = disk.path().join("exporter.log");
    let textfiles = node.path("textfile");
    let arguments = [
        "--collector.disable-defaults".to_owned(),
        "--collector.textfile".to_owned(),
        format!("--collector.textfile.directory={}", textfiles.display()),
        format!("--web.listen-address=127.0.0.1:{exporter}"),
    ];
    let _exporter = Program::start("prometheus-node-exporter", &arguments, &log);
    let read = wait_for("node_exporter has read the file", &log, || {
        fetch_page(exporter, "/metrics")
            .filter(|text| text.contains("kubecertd_passes_total{result=\"ok\"} 1"))
    });
    assert!(read.contains("\nnode_textfile_scrape_error 0\n"), "{read}");
    assert!(read.contains("# TYPE kubecertd_passes_total counter\n"), "the type is counter");

    let log = disk.path().join("prometheus.log");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/alerts/kubecertd.rules.yml");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{rules}\"]\n\
         scrape_configs:\n\
         - {{job_name: kubecertd, static_configs: [{{targets: [\"127.0.0.1:{port}\"]}}]}}\n\
         - {{job_name: textfile, static_configs: [{{targets: [\"127.0.0.1:{exporter}\"]}}]}}\n"
    );
    std::fs::write(disk.path().join("prometheus.yml"), config).unwrap();
    let arguments = [
        format!("--config.file={}", disk.path().join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", disk.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{own}"),
    ];
    let _prometheus = Program::start("prometheus", &arguments, &log);

    let expected: BTreeSet<String> = node.usable_credentials().into_keys().collect();
    for job in ["kubecertd", "textfile"] {
        let found = wait_for("Prometheus has the certificates", &log, || {
            let found = query(
                own,
                &format!("x509_cert_not_after{{job=%22{job}%22,renewed_by=%22kubecertd%22}}"),
            );
            (!found.is_empty()).then_some(found)
        });
        let names: BTreeSet<String> =
            found.iter().map(|one| one["metric"]["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names, expected, "{job}");
        for one in &found {
            let name = one["metric"]["name"].as_str().unwrap();
            let seconds: i64 = one["value"][1].as_str().unwrap().parse().unwrap();
            assert_eq!(seconds, node.certificate(name).not_after.seconds(), "{name}");
        }
        let last = wait_for("Prometheus has the last pass", &log, || {
            query(own, &format!("kubecertd_last_pass_timestamp_seconds{{job=%22{job}%22}}"))
                .into_iter()
                .next()
        });
        let began = daemon.status().unwrap().last_pass.unwrap().began;
        assert_eq!(last["value"][1].as_str().unwrap().parse::<i64>().unwrap(), began.seconds());
    }

    // The first evaluation may come before the first metrics: then the rule about their absence is
    // pending.
    let rules: Vec<Value> = wait_for("no rule is firing or pending", &log, || {
        let response: Value =
            serde_json::from_str(&fetch_page(own, "/api/v1/rules?type=alert")?).unwrap();
        let rules = response["data"]["groups"][0]["rules"].as_array()?.clone();
        let is_quiet = |rule: &Value| rule["health"] == "ok" && rule["state"] == "inactive";
        rules.iter().all(is_quiet).then_some(rules)
    });
    assert!(rules.len() > 5);
    let up = query(own, "sum(up)");
    assert_eq!(
        up[0]["value"][1], "2",
        "the daemon's OpenMetrics and node_exporter's text are both understood"
    );
}

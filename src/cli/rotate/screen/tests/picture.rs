//! The picture docs/rotation.svg: what the command prints about a rotation in the cluster of an API
//! server in this process. packaging/pictures draws it.

use super::*;
use crate::cluster::tests::local;
use crate::common::pictures::{comparable, picture_text};
use crate::formats::node_report::write;
use crate::model::{AlarmCounts, NodeReport};
use crate::pass::rotation::order::standing;
use crate::pass::rotation::tests::site::{Site, agreement};
use crate::state::KeptStanding;

/// The variable that names the file into which the text of the picture is written.
const PICTURE_TEXT: &str = "PICTURE_TEXT";

/// A time at which the certificates of the node are valid: 2026-11-29 16:53:20 UTC.
const NOW: Timestamp = Timestamp::from_seconds(1_795_971_200);

fn earlier(minutes: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(minutes * 60))
}

/// A cluster of three control-plane nodes and forty workers on the way to the level `clients`.
async fn site() -> Site {
    let name = DistinguishedName::from_parts(&[(NamePart::CommonName, "kubernetes-2")]).unwrap();
    let site = Site::new().await.replaced_by(&name);
    let started = earlier(47);
    let intent = RotationIntent { started, ..site.intent(agreement(7, Trusted, Clients), Servers) };
    let signed = site.put_intent(&intent);
    let put = |name: &str, labels: &[&str], minutes, progress: (u64, bool), alarms| {
        let (generation, is_done) = progress;
        let rotation = Some(NodeProgress { generation, is_done });
        let report = NodeReport { rotation, alarms, ..NodeReport::fine(earlier(minutes)) };
        site.cluster.objects.put_node(name, labels, Some(&write(&report)));
    };
    let none = AlarmCounts::default;
    for (name, is_done) in [("cp1", false), ("cp2", true), ("cp3", true)] {
        put(name, &["node-role.kubernetes.io/control-plane"], 2, (7, is_done), none());
    }
    for number in 1..=40 {
        let worst = Some("The update of the root CA does not go on.".to_owned());
        let (minutes, progress, alarms) = match number {
            17 => (4, (7, false), AlarmCounts { major: 1, worst, ..none() }),
            8 | 21 => (14, (6, true), none()),
            31.. => (2 + number % 3, (7, false), none()),
            _ => (3, (7, true), none()),
        };
        put(&format!("w{number:02}"), &[], minutes, progress, alarms);
    }
    site.keep(7, Some(signed));
    site.keep_standing(KeptStanding {
        progress: NodeProgress { generation: 7, is_done: false },
        waits: Some("kube-apiserver reads its files again".to_owned()),
        objects: Vec::new(),
        held: None,
    });
    site
}

#[tokio::test(flavor = "current_thread")]
async fn picture_of_rotation_shows_the_screen() {
    local(async {
        let site = site().await;
        let printed = site.on_node(|node| screen(&standing(node, NOW).unwrap(), NOW)).await;
        if let Some(file) = std::env::var_os(PICTURE_TEXT) {
            std::fs::write(file, printed).unwrap();
            return;
        }
        let plain = anstream::adapter::strip_str(&printed).to_string();
        let expected = comparable(&format!("$ kubecertd ca rotate status{plain}"));
        assert_eq!(picture_text("rotation"), expected, "run packaging/pictures\n{plain}");
    })
    .await;
}

//! The orders on the way, in every state of a rotation.

use serde_json::json;

use super::site::{COPY, OBJECT, Site, agreement, object_of};
use super::*;
use crate::act::RotationKeys;
use crate::cluster::tests::local;
use crate::formats::node_report::write;
use crate::formats::rotation_intent::SignedIntent;
use crate::model::{AbsolutePath, AlarmCounts, NodeReport};
use crate::pass::rotation::kept::{forget, remove_old_key};
use crate::pass::rotation::order::{
    Order, OrderError, Standing, carry_out, next, offered, standing,
};
use crate::state::rotation_key;

use RotationLevel::{Clients, Distrusted, Rest, Servers, Staged, Trusted};

/// What an order makes of a rotation: its goal and why it is paused.
type Ordered = Result<(RotationLevel, Option<&'static str>), OrderError>;

/// Gives an order in a state, paused or not and stepwise or not. `expected` is what comes of it,
/// whatever these two are.
fn check(disk: &Disk, found: Agreement, goal: RotationLevel, order: &Order, expected: &Ordered) {
    for (paused, is_stepwise) in
        [(None, false), (None, true), (Some("a reason"), false), (Some("a reason"), true)]
    {
        let mut rotation = disk.rotation(found.to);
        let paused = paused.map(str::to_owned);
        let before = RotationIntent {
            agreement: found,
            goal,
            paused,
            is_stepwise,
            ..rotation.intent.clone()
        };
        rotation.intent = before.clone();
        let state = format!("{order:?} at {found:?}, goal {goal}, {:?}", before.paused);
        match (next(&rotation, order, NOW), expected) {
            (Ok(after), Ok((goal, paused))) => {
                let generation = found.generation + 1;
                let agreement = Agreement { generation, ..found };
                let bridge_back = after.bridge_back.clone();
                assert_eq!(bridge_back.is_some(), *order == Order::Back && found.to == Distrusted);
                let paused = paused.map(str::to_owned);
                let back = bridge_back.clone();
                let expected =
                    RotationIntent { agreement, goal: *goal, paused, bridge_back: back, ..before };
                assert_eq!(after, expected, "{state}");
                if bridge_back.is_some() {
                    // A node that trusts the new root alone reads it.
                    let signed = after.sign(&[&disk.new]).unwrap();
                    let read = signed.verify(std::slice::from_ref(&after.new));
                    assert_eq!(read.as_ref(), Ok(&after), "{state}");
                }
            }
            (Err(found), Err(expected)) => {
                assert_eq!(found.to_string(), expected.to_string(), "{state}");
            }
            (found, _) => panic!("{state}: {found:?} in place of {expected:?}"),
        }
    }
}

/// Every state: on the way to each level from both sides, and at each level, for every goal.
fn states() -> Vec<(Agreement, RotationLevel)> {
    let mut states = Vec::new();
    for (index, to) in RotationLevel::ALL.into_iter().enumerate() {
        let neighbours = index.saturating_sub(1)..=(index + 1).min(5);
        for from in neighbours.map(|index| RotationLevel::ALL[index]) {
            states.extend(RotationLevel::ALL.map(|goal| (agreement(7, from, to), goal)));
        }
    }
    states
}

/// No order is under way any more.
#[test]
fn key_of_a_replaced_root_is_removed_after_thirty_days() {
    let disk = Disk::of(TREES[0]);
    let node = disk.node();
    let state = &node.settings.paths.state;
    let file = rotation_key(state, ReplacedCa::Root, RootCa::Old);
    let path = disk.dir.path().join(file.to_string().trim_start_matches('/'));
    let put = || {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, disk.old.to_pem().unwrap().expose()).unwrap();
    };
    let is_kept = |goal: RotationLevel, days_later| {
        put();
        let mut rotation = disk.rotation(goal);
        rotation.intent.goal = goal;
        assert_eq!(forget(&node, &rotation, NOW), Vec::<String>::new());
        let there = path.exists();
        remove_old_key(&node, NOW.plus(days(days_later))).unwrap();
        (there, path.exists())
    };
    assert_eq!(is_kept(Distrusted, 29), (true, true));
    assert_eq!(is_kept(Distrusted, 30), (true, false));
    let (kept, _) = KeptRotation::read(&node.root, state);
    assert_eq!((kept.replaced, kept.intent), (None, None));
    assert_eq!(is_kept(Rest, 30), (false, false), "it is in ca.key");
    // While another rotation is under way its own keys are there.
    put();
    let signed = disk.rotation(Staged).signed;
    let kept = KeptRotation { replaced: Some(NOW), ..KeptRotation::default() };
    kept.with_intent(7, Some(signed)).write(&node.root, state).unwrap();
    assert!(!remove_old_key(&node, NOW.plus(days(90))).unwrap() && path.exists());
}

fn is_settled(found: Agreement, goal: RotationLevel) -> bool {
    found.from == found.to && found.to == goal
}

#[test]
fn pause_resume_and_back_are_carried_out_in_every_state() {
    let disk = Disk::of(TREES[0]);
    for (found, goal) in states() {
        let pause = Order::Pause("another reason".to_owned());
        check(&disk, found, goal, &pause, &Ok((goal, Some("another reason"))));
        check(&disk, found, goal, &Order::Resume, &Ok((goal, None)));
        check(&disk, found, goal, &Order::Back, &Ok((Rest, None)));
    }
}

#[test]
fn step_goes_to_the_next_level_where_the_nodes_are_settled() {
    let disk = Disk::of(TREES[0]);
    let next_level: [(RotationLevel, Ordered); 6] = [
        (Rest, Ok((Staged, None))),
        (Staged, Ok((Trusted, None))),
        (Trusted, Ok((Clients, None))),
        (Clients, Ok((Servers, None))),
        (Servers, Err(OrderError::NeedsComplete)),
        (Distrusted, Err(OrderError::Ends)),
    ];
    for (level, expected) in &next_level {
        check(&disk, agreement(7, *level, *level), *level, &Order::Step, expected);
    }
    // The level that is named is the one to which the nodes work, or go next.
    for (from, to, goal, named) in [
        (Rest, Rest, Staged, Staged),
        (Rest, Staged, Staged, Staged),
        (Rest, Staged, Servers, Staged),
        (Staged, Staged, Servers, Trusted),
        (Clients, Trusted, Rest, Trusted),
        (Trusted, Trusted, Rest, Staged),
        (Servers, Distrusted, Distrusted, Distrusted),
    ] {
        let expected = Err(OrderError::OnTheWay(named));
        check(&disk, agreement(7, from, to), goal, &Order::Step, &expected);
    }
    let on_the_way = states().into_iter().filter(|(found, goal)| !is_settled(*found, *goal));
    for (found, goal) in on_the_way {
        let rotation = disk.rotation(found.to);
        let intent = RotationIntent { agreement: found, goal, ..rotation.intent.clone() };
        let result = next(&Rotation { intent, ..rotation }, &Order::Step, NOW);
        assert!(matches!(result, Err(OrderError::OnTheWay(_))), "{found:?} {goal}: {result:?}");
    }
}

#[test]
fn completion_needs_all_nodes_at_the_level_of_servers() {
    let disk = Disk::of(TREES[0]);
    for (found, goal) in states() {
        let expected = match found.to {
            Servers if is_settled(found, goal) => Ok((Distrusted, None)),
            Distrusted => Err(OrderError::Ends),
            _ => Err(OrderError::TooEarly),
        };
        check(&disk, found, goal, &Order::Complete, &expected);
    }
}

#[test]
fn bridge_back_needs_the_new_key() {
    let disk = Disk::of(TREES[1]);
    let mut rotation = disk.rotation(Distrusted);
    let after = next(&rotation, &Order::Back, NOW).unwrap();
    let back = after.bridge_back.unwrap();
    assert!(back.is_signed_by(&after.new) && back.subject == after.old.subject);
    assert_eq!(back.public_key_der(), after.old.public_key_der());
    assert_eq!(back.not_after, after.old.not_after.min(after.new.not_after));
    assert!(back.is_valid_at(NOW));
    rotation.keys.new = None;
    let error = next(&rotation, &Order::Back, NOW).unwrap_err().to_string();
    assert!(error.starts_with("the key of the new root CA is not on this node"), "{error}");
    let cas = [ReplacedCa::Root, ReplacedCa::FrontProxy];
    for (ca, root) in cas.into_iter().flat_map(|ca| [(ca, RootCa::Old), (ca, RootCa::New)]) {
        let keys = RotationKeys { ca, ..RotationKeys::default() };
        let error = keys.of(root).unwrap_err().to_string();
        let state = AbsolutePath::new("/state").unwrap();
        let file = rotation_key(&state, ca, root).to_string();
        let named = file.trim_start_matches("/state/");
        assert!(error.contains(&format!(" {named} in the state directory")), "{error}");
    }
    rotation.intent.agreement.to = Servers;
    assert!(next(&rotation, &Order::Back, NOW).is_ok(), "it is needed from level 4 alone");
}

async fn ordered(site: &Site, order: Order) -> Result<RotationIntent, OrderError> {
    site.on_node(move |node| carry_out(node, &order, NOW)).await
}

#[tokio::test(flavor = "current_thread")]
async fn order_is_written_into_the_cluster_and_kept() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let after = ordered(&site, Order::Pause("a storm".to_owned())).await.unwrap();
        assert_eq!((after.agreement.generation, after.paused.as_deref()), (8, Some("a storm")));
        assert_eq!(site.intent_of_cluster().as_ref(), Some(&after));
        assert_eq!((site.kept().generation, site.kept_intent()), (8, Some(after)));
        // Another operator is faster: what that one ordered stays, here and there.
        let other = site.intent(agreement(9, Staged, Trusted), Rest);
        let signed = other.sign(&[&site.disk.old, &site.disk.new]).unwrap();
        let before = site.kept();
        site.cluster.objects.before_write(move |all| all.put_at(OBJECT, object_of(&signed)));
        let error = ordered(&site, Order::Resume).await.unwrap_err().to_string();
        assert!(error.ends_with("has changed since it was read"), "{error}");
        assert_eq!((site.intent_of_cluster(), site.kept()), (Some(other), before));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn resume_writes_a_deleted_object_again() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let api = site.node();
        let api = kept::administrator_api(&api).await.unwrap();
        let version = api.rotation().await.unwrap().unwrap().version;
        api.delete_rotation(&version).await.unwrap();
        for order in [Order::Step, Order::Back, Order::Complete, Order::Pause("a".to_owned())] {
            assert!(matches!(ordered(&site, order).await, Err(OrderError::None)));
        }
        assert_eq!(site.intent_of_cluster(), None);
        let after = ordered(&site, Order::Resume).await.unwrap();
        assert_eq!(after.agreement, agreement(8, Staged, Trusted));
        assert_eq!(site.intent_of_cluster(), Some(after));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn intent_of_another_cluster_takes_no_order() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        site.put_cluster("77aa");
        let writes = site.cluster.objects.writes();
        let is_of_other = |error: OrderError| {
            matches!(error, OrderError::Rotation(RotationError::OtherCluster { found, own })
                if found == "1e5b" && own == "77aa")
        };
        assert!(is_of_other(ordered(&site, Order::Step).await.unwrap_err()));
        let status = site.on_node(|node| standing(node, NOW).map(drop)).await;
        assert!(is_of_other(status.unwrap_err()));
        assert_eq!(site.cluster.objects.writes(), writes);
    })
    .await;
}

/// An earlier intent verifies, too. The order is about the one that the node follows.
#[tokio::test(flavor = "current_thread")]
async fn order_takes_the_place_of_a_replayed_or_a_senseless_object() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let kept = site.kept();
        site.put_intent(&site.intent(agreement(3, Servers, Distrusted), Distrusted));
        let status = site.on_node(|node| standing(node, NOW).map(drop)).await;
        let is_replayed = |error: &OrderError| {
            matches!(error, OrderError::Rotation(RotationError::Replayed { found: 3, known: 7 }))
        };
        assert!(is_replayed(&status.unwrap_err()));
        let after = ordered(&site, Order::Back).await.unwrap();
        assert_eq!((after.agreement, after.goal), (agreement(8, Staged, Trusted), Rest));
        assert_eq!(site.intent_of_cluster(), Some(after));
        // One that nothing has signed.
        site.keep(7, kept.intent);
        site.put_signed(&SignedIntent {
            document: "{}".to_owned(),
            signatures: vec!["a".to_owned()],
        });
        let after = ordered(&site, Order::Back).await.unwrap();
        assert_eq!(after.agreement, agreement(8, Staged, Trusted));
        // Without an intent of its own, the node follows none of them.
        site.keep(7, None);
        site.put_intent(&site.intent(agreement(3, Staged, Trusted), Servers));
        assert!(is_replayed(&ordered(&site, Order::Back).await.unwrap_err()));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn order_without_the_keys_that_all_nodes_need_is_refused() {
    local(async {
        // Some nodes trust the new root alone.
        let site = Site::at(agreement(7, Servers, Distrusted), Distrusted).await;
        std::fs::remove_file(site.key_file(RootCa::New)).unwrap();
        let before = (site.intent_of_cluster(), site.kept());
        let result = ordered(&site, Order::Pause("a".to_owned())).await;
        assert!(matches!(result, Err(OrderError::Rotation(RotationError::NoKeys))), "{result:?}");
        assert_eq!((site.intent_of_cluster(), site.kept()), before);
        // A key of another rotation is none of these.
        site.put_key(RootCa::New, &site.disk.old);
        let result = ordered(&site, Order::Pause("a".to_owned())).await;
        assert!(matches!(result, Err(OrderError::Rotation(RotationError::NoKeys))), "{result:?}");
        site.put_key(RootCa::New, &site.disk.new);
        ordered(&site, Order::Pause("a".to_owned())).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn status_shows_all_nodes_and_the_own_state() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        site.put_node("cp1", Some((6, true)));
        site.put_node("cp2", Some((7, true)));
        site.put_node("w1", None);
        let standing_of_pass = KeptStanding {
            progress: NodeProgress { generation: 7, is_done: false },
            waits: Some("kubelet is restarted".to_owned()),
            held: None,
            objects: vec!["a caBundle".to_owned()],
        };
        site.keep_standing(standing_of_pass.clone());
        let found = site.on_node(|node| standing(node, NOW)).await.unwrap();
        assert_eq!(found.intent.agreement, agreement(7, Staged, Trusted));
        let reasons = |found: &Standing| {
            let reasons = found.nodes.iter().map(|one| one.wait_reason(&found.intent));
            reasons.collect::<Vec<_>>()
        };
        // Newer than its report.
        let own = Some(WaitReason::Waits("kubelet is restarted".to_owned()));
        assert_eq!(reasons(&found), [own, None, Some(WaitReason::NoReport)]);
        assert_eq!(found.objects, ["a caBundle"]);
        // What it found by an earlier agreement is no more known.
        let progress = NodeProgress { generation: 6, is_done: true };
        site.keep_standing(KeptStanding { progress, ..standing_of_pass });
        let found = site.on_node(|node| standing(node, NOW)).await.unwrap();
        assert_eq!(reasons(&found)[0], Some(WaitReason::NotRead));
        assert_eq!(found.objects, Vec::<String>::new());
    })
    .await;
}

/// The node that coordinates waits for the other one, and does not say so a second time.
#[tokio::test(flavor = "current_thread")]
async fn node_that_is_waited_for_is_named_once() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        site.put_node("cp1", None);
        site.put_node("w1", None);
        site.cluster.objects.put_at(COPY, json!({"data": {"ca.crt": "old"}}));
        site.in_pass(|pass| {
            let rotation = read_rotation(pass.node).unwrap().unwrap();
            let mut report = RotationReport::new(&rotation);
            report.is_done = true;
            pass.coordinate_as("cp1".to_owned(), &rotation, &mut report);
            assert_eq!(report.nodes, ["w1 does not report: does kubecertd run there?"]);
            assert_eq!(report.first_wait(), report.nodes.first().map(String::as_str));
            assert_eq!(pass.keep_standing(&report), None);
        })
        .await;
        let found = site.on_node(|node| standing(node, NOW)).await.unwrap();
        let reasons = found.nodes.iter().map(|one| one.wait_reason(&found.intent));
        assert_eq!(reasons.collect::<Vec<_>>(), [None, Some(WaitReason::NoReport)]);
        assert!(found.objects[0].contains("kube-root-ca.crt"), "{:?}", found.objects);
        assert_eq!(found.objects.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn report_of_another_node_says_when_and_why() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let put = |rotation, alarms| {
            let report = NodeReport { rotation, alarms, ..NodeReport::fine(NOW.minus(days(1))) };
            site.cluster.objects.put_node("w1", &[], Some(&write(&report)));
        };
        let found = || async {
            let found = site.on_node(|node| standing(node, NOW)).await.unwrap();
            (found.nodes[0].reported, found.nodes[0].wait_reason(&found.intent))
        };
        let at = Some(NOW.minus(days(1)));
        let progress = |is_done| Some(NodeProgress { generation: 7, is_done });
        let worst = Some("The update of the root CA does not go on.".to_owned());
        let severe = AlarmCounts { major: 1, worst, ..AlarmCounts::default() };
        put(progress(false), severe.clone());
        let reason = "alarm: The update of the root CA does not go on.".to_owned();
        assert_eq!(found().await, (at, Some(WaitReason::Held(reason))));
        // The alarm that every node has meanwhile says nothing.
        put(progress(false), AlarmCounts { major: 0, minor: 1, ..severe.clone() });
        assert_eq!(found().await, (at, Some(WaitReason::OnItsWay)));
        put(progress(true), severe);
        assert_eq!(found().await, (at, None));
        put(None, AlarmCounts::default());
        assert_eq!(found().await, (at, Some(WaitReason::NotRead)), "it does report");
    })
    .await;
}

#[test]
fn offered_orders_make_a_difference_in_every_state() {
    let disk = Disk::of(TREES[0]);
    for (found, goal) in states() {
        for paused in [None, Some("a reason".to_owned())] {
            let mut rotation = disk.rotation(found.to);
            let intent = RotationIntent { agreement: found, goal, paused, ..rotation.intent };
            rotation.intent = intent.clone();
            let offered = offered(&intent);
            for order in &offered {
                let after = next(&rotation, order, NOW).unwrap();
                assert_ne!((after.goal, &after.paused), (goal, &intent.paused), "{order:?}");
            }
            let is_over = is_settled(found, goal) && goal.is_end();
            for order in [Order::Step, Order::Complete] {
                let is_accepted = next(&rotation, &order, NOW).is_ok();
                let expected = is_accepted && intent.paused.is_none() && !is_over;
                assert_eq!(offered.contains(&order), expected, "{order:?} at {found:?}, {goal}");
            }
            let is_paused = intent.paused.is_some();
            assert_eq!(offered.contains(&Order::Resume), is_paused);
            assert_eq!(offered.is_empty(), is_over && !is_paused, "{found:?}, {goal}");
        }
    }
}

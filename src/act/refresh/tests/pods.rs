//! Static pods: the container is stopped, and its successor waited for.

use tonic::Status;

use super::*;
use crate::model::Essential;

#[tokio::test]
async fn container_is_stopped_with_grace_and_successor_awaited() {
    let setting = Setting::with_runtime(NORMAL);
    let since = Cell::new(None);
    let script = |_: &str, looks: usize, restarted: bool| {
        if !restarted {
            return stale("old");
        }
        let first = since.get().unwrap_or(looks);
        since.set(Some(first));
        match looks - first {
            0 => stale("old"),
            1 => down("not yet"),
            2..=3 => seen(
                "new",
                Health::Unhealthy("starting".to_owned()),
                Freshness::Unknown("nothing yet".to_owned()),
            ),
            4 => seen("new", Health::Healthy, Freshness::Unknown("nothing yet".to_owned())),
            _ => seen("new", Health::Healthy, Freshness::Fresh(Evidence::Serves)),
        }
    };
    let caller = Scripted::new(&script);
    let outcome = setting.one(&caller, Remedy::Restart, pod("a")).await;
    let Refreshed::Restarted { after, unready, uptake, instead, unhealthy } =
        outcome.result.unwrap()
    else {
        panic!()
    };
    assert_eq!((uptake, instead, unhealthy), (Uptake::Verified(Evidence::Serves), None, None));
    assert!(unready <= after && unready >= 3 * SHORT.pause, "{unready:?} of {after:?}");
    assert_eq!(setting.stops(), [("old".to_owned(), 7)]);
    assert!(outcome.restarted);
}

#[tokio::test]
async fn services_restart_in_order_each_healthy_before_next() {
    let setting = Setting::with_runtime(NORMAL);
    let unhealthy = Cell::new(3);
    let script = |of: &str, _: usize, restarted: bool| match restarted {
        false => stale(&format!("old-{of}")),
        true if of == "c" && unhealthy.get() > 0 => {
            unhealthy.set(unhealthy.get() - 1);
            seen(
                "new-c",
                Health::Unhealthy("starting".to_owned()),
                Freshness::Fresh(Evidence::Started),
            )
        }
        true => fresh(&format!("new-{of}")),
    };
    let caller = Scripted::new(&script);
    let steps = ["c", "a", "b"].map(|of| step(of, Remedy::Restart));
    let outcomes = setting.refresh(&caller, &steps, &["a", "b", "c"].map(pod)).await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    assert_eq!(
        setting.stops().into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
        ["old-c", "old-a", "old-b"]
    );
    let mut looks = caller.looks();
    looks.dedup();
    assert_eq!(looks, ["c", "a", "b"]);
    assert_eq!(unhealthy.get(), 0);
}

#[tokio::test]
async fn missing_runtime_uses_up_no_restart() {
    let script = |_: &str, _: usize, _: bool| stale("old");
    let caller = Scripted::new(&script);
    let outcome = Setting::new().one(&caller, Remedy::Restart, pod("a")).await;
    assert!(!outcome.restarted && caller.restarted().is_empty());
    assert_eq!(
        error(outcome),
        "there is no socket /no/such.sock: is the container runtime running, and is this its \
         socket?"
    );
}

#[tokio::test]
async fn refusal_of_caller_is_final() {
    let setting = Setting::with_runtime(NORMAL);
    let script = |_: &str, _: usize, _: bool| stale("old");
    let caller =
        Scripted { refuses: Some("the other controller is down"), ..Scripted::new(&script) };
    let outcome = setting.one(&caller, Remedy::Restart, pod("a")).await;
    assert!(!outcome.restarted && setting.stops().is_empty());
    assert!(outcome.failure().is_none(), "it waits, and nothing is wrong");
    assert_eq!(error(outcome), "it was not restarted: the other controller is down");
}

#[tokio::test]
async fn stopped_or_unknown_service_is_left_alone() {
    let unknown = |reason: &str| {
        let mut seen = down("");
        seen.facts.presence = Presence::Unknown(reason.to_owned());
        seen
    };
    for (seen, expected) in [
        (
            down("it crashed"),
            "it does not run (it crashed); it reads the files on the disk when it starts",
        ),
        (
            unknown("no runtime"),
            "it is not known whether it runs: no runtime; it was not \
            restarted",
        ),
    ] {
        let setting = Setting::with_runtime(NORMAL);
        let script = |_: &str, _: usize, _: bool| seen.clone();
        let outcome = setting.one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
        assert!(!outcome.restarted && setting.stops().is_empty());
        assert_eq!(error(outcome), expected);
    }
}

#[tokio::test]
async fn nothing_is_stopped_while_kubelet_is_down() {
    let setting = Setting::with_runtime(NORMAL);
    let script = |_: &str, _: usize, _: bool| stale("old");
    let kind =
        ServiceKind::StaticPod { pod: "a".to_owned(), manifest: None, grace: Duration::ZERO };
    let outcome = setting.one(&Scripted::new(&script), Remedy::Restart, service("a", kind)).await;
    assert!(!outcome.restarted && matches!(outcome.result, Err(RefreshError::NoManifest)));
    let ill = |of: &str, _: usize, _: bool| match of {
        "kubelet" => seen("k", Health::Unhealthy("the loop hangs".to_owned()), Freshness::ByItself),
        _ => stale("old"),
    };
    let outage =
        |of: &str, _: usize, _: bool| if of == "kubelet" { down("inactive") } else { stale("old") };
    let kubelet = pod("kubelet");
    for script in [&ill as &dyn Fn(&str, usize, bool) -> ServiceObservation, &outage] {
        let caller = Scripted::new(script);
        let outcomes = setting
            .refresh_beside(&caller, &[step("a", Remedy::Restart)], &[pod("a")], Some(&kubelet))
            .await;
        assert!(matches!(outcomes[0].result, Err(RefreshError::KubeletDown(_))), "{outcomes:?}");
        assert!(caller.restarted().is_empty());
    }
    assert!(setting.stops().is_empty());
}

#[tokio::test]
async fn kubelet_health_counts_without_systemd() {
    let setting = Setting::with_runtime(NORMAL);
    let script = |of: &str, _: usize, restarted: bool| match (of, restarted) {
        ("kubelet", _) => {
            let mut kubelet = seen("k", Health::Healthy, Freshness::ByItself);
            kubelet.facts.presence = Presence::Unknown("no bus".to_owned());
            kubelet
        }
        (_, false) => stale("old"),
        (_, true) => fresh("new"),
    };
    let (caller, kubelet) = (Scripted::new(&script), pod("kubelet"));
    let outcomes = setting
        .refresh_beside(&caller, &[step("a", Remedy::Restart)], &[pod("a")], Some(&kubelet))
        .await;
    assert!(outcomes[0].result.is_ok(), "{outcomes:?}");
}

#[tokio::test]
async fn missing_successor_error_says_what_to_do() {
    let setting = Setting::with_runtime(NORMAL);
    let script = |_: &str, _: usize, restarted: bool| {
        if restarted { down("it ended with 137") } else { stale("old") }
    };
    let outcome = setting.one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    assert!(outcome.restarted);
    let error = error(outcome);
    assert!(
        error.contains("kubelet has not started another one within 0 s (it ended with 137)")
            && error.contains("journalctl"),
        "{error}"
    );
}

#[tokio::test]
async fn same_container_is_no_successor() {
    let setting = Setting::with_runtime(NORMAL);
    let script = |_: &str, _: usize, _: bool| stale("old");
    let outcome = setting.one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    assert!(error(outcome).contains("the old one still runs"));
}

#[tokio::test]
async fn unhealthy_successor_error_shows_last_finding() {
    let ill = |_: &str, _: usize, restarted: bool| match restarted {
        true => seen(
            "new",
            Health::Unhealthy("etcd failed".to_owned()),
            Freshness::Fresh(Evidence::Started),
        ),
        false => stale("old"),
    };
    let since = Cell::new(0);
    let dies = |_: &str, _: usize, restarted: bool| {
        since.set(since.get() + usize::from(restarted));
        match since.get() {
            0 => stale("old"),
            1 => seen("new", Health::Unhealthy("starting".to_owned()), Freshness::ByItself),
            _ => down("it ended with 1"),
        }
    };
    for (script, found) in [
        (&ill as &dyn Fn(&str, usize, bool) -> ServiceObservation, "etcd failed"),
        (&dies, "it ended with 1"),
    ] {
        let outcome = Setting::with_runtime(NORMAL)
            .one(&Scripted::new(script), Remedy::Restart, pod("a"))
            .await;
        assert!(outcome.restarted);
        assert!(
            matches!(
                &outcome.result,
                Err(RefreshError::NeverHealthy { found: last, .. }) if last == found
            ),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn stale_successor_error_shows_evidence() {
    let script = |_: &str, _: usize, restarted: bool| stale(if restarted { "new" } else { "old" });
    let setting = Setting::with_runtime(NORMAL);
    let outcome = setting.one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    assert!(outcome.restarted);
    assert!(
        error(outcome).starts_with(
            "it was refreshed and still uses an outdated the.conf (file in container); "
        )
    );
    assert_eq!(setting.stops().len(), 1, "there is no second restart");
}

#[tokio::test]
async fn unverifiable_successor_is_accepted_after_limit() {
    let script = |_: &str, _: usize, restarted: bool| match restarted {
        true => seen("new", Health::Healthy, Freshness::Unknown("a proxy".to_owned())),
        false => stale("old"),
    };
    let began = Instant::now();
    let outcome =
        Setting::with_runtime(NORMAL).one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    let result = outcome.result.unwrap();
    assert!(
        matches!(result, Refreshed::Restarted { uptake: Uptake::Unverified(_), .. }),
        "{result:?}"
    );
    assert!(began.elapsed() >= SHORT.proof);
}

#[tokio::test]
async fn service_unhealthy_before_is_no_failure() {
    let ill = |id: &str, freshness| seen(id, Health::Unhealthy("no quorum".to_owned()), freshness);
    let script = |_: &str, _: usize, restarted: bool| match restarted {
        true => ill("new", Freshness::Fresh(Evidence::Started)),
        false => ill("old", Freshness::Stale(Evidence::Sees)),
    };
    let outcome =
        Setting::with_runtime(NORMAL).one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    let result = outcome.result.unwrap();
    let Refreshed::Restarted {
        uptake: Uptake::Verified(Evidence::Started),
        unhealthy: Some(reason),
        ..
    } = result
    else {
        panic!("{result:?}")
    };
    assert_eq!(reason, "no quorum");
    let script = |_: &str, _: usize, restarted: bool| {
        ill(if restarted { "new" } else { "old" }, Freshness::Stale(Evidence::Sees))
    };
    let outcome =
        Setting::with_runtime(NORMAL).one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    assert!(matches!(outcome.result, Err(RefreshError::StillStale(_))), "{outcome:?}");
}

#[tokio::test]
async fn unhealthy_essential_service_stops_the_rest() {
    let script = |of: &str, _: usize, restarted: bool| match (of, restarted) {
        (of, false) => stale(&format!("old-{of}")),
        ("b", true) => {
            seen("new-b", Health::Unhealthy("etcd".to_owned()), Freshness::Fresh(Evidence::Started))
        }
        (of, true) => fresh(&format!("new-{of}")),
    };
    for essential in [true, false] {
        let setting = Setting::with_runtime(NORMAL);
        let caller = Scripted::new(&script);
        let services = [
            pod("a"),
            Service { essential: essential.then_some(Essential::EtcdMember), ..pod("b") },
            pod("c"),
        ];
        let steps = ["a", "b", "c"].map(|of| step(of, Remedy::Restart));
        let outcomes = setting.refresh(&caller, &steps, &services).await;
        let [a, b, c] = <[RefreshOutcome; 3]>::try_from(outcomes).unwrap();
        assert!(a.result.is_ok() && matches!(b.result, Err(RefreshError::NeverHealthy { .. })));
        match c.result {
            Err(RefreshError::Skipped { because }) => {
                assert!(essential && because == name("b") && !c.restarted)
            }
            result => assert!(!essential && result.is_ok()),
        }
        assert_eq!(setting.stops().len(), if essential { 2 } else { 3 });
    }
}

#[tokio::test]
async fn untouched_essential_service_blocks_no_other() {
    let script = |of: &str, _: usize, restarted: bool| match (of, restarted) {
        ("a", _) => down("it crashed"),
        (of, false) => stale(of),
        (_, true) => fresh("new"),
    };
    let setting = Setting::with_runtime(NORMAL);
    let services = [Service { essential: Some(Essential::EtcdMember), ..pod("a") }, pod("b")];
    let outcomes = setting
        .refresh(
            &Scripted::new(&script),
            &["a", "b"].map(|of| step(of, Remedy::Restart)),
            &services,
        )
        .await;
    assert!(outcomes[0].result.is_err() && outcomes[1].result.is_ok(), "{outcomes:?}");
}

#[tokio::test]
async fn removed_container_has_successor() {
    let setting =
        Setting::with_runtime(Behaviour { stop: || Err(Status::not_found("gone")), ..NORMAL });
    let script =
        |_: &str, _: usize, restarted: bool| if restarted { fresh("new") } else { stale("old") };
    let outcome = setting.one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn refusal_of_runtime_is_quoted() {
    let setting = Setting::with_runtime(Behaviour {
        stop: || Err(Status::internal("the disk is on fire")),
        ..NORMAL
    });
    let script = |_: &str, _: usize, _: bool| stale("old");
    let outcome = setting.one(&Scripted::new(&script), Remedy::Restart, pod("a")).await;
    assert!(!outcome.restarted);
    assert_eq!(
        error(outcome),
        "the container runtime refused StopContainer: the disk is on fire (Internal)"
    );
}

#[tokio::test]
async fn unanswered_stop_counts_as_restart() {
    for succeeds in [true, false] {
        let limits = Limits { call: Duration::from_millis(300), ..SHORT };
        let setting = Setting {
            limits,
            ..Setting::with_runtime(Behaviour { hangs_in: "StopContainer", ..NORMAL })
        };
        let script = |_: &str, _: usize, restarted: bool| {
            if restarted && succeeds { fresh("new") } else { stale("old") }
        };
        let kind = ServiceKind::StaticPod {
            pod: "a".to_owned(),
            manifest: Some("a.yaml".to_owned()),
            grace: Duration::ZERO,
        };
        let outcome =
            setting.one(&Scripted::new(&script), Remedy::Restart, service("a", kind)).await;
        assert_eq!((outcome.restarted, outcome.result.is_ok()), (true, succeeds), "{outcome:?}");
        if !succeeds {
            let error = error(outcome);
            assert!(
                error.contains(
                    "the old one still runs; the container runtime did not answer \
                StopContainer within 0.3 s"
                ),
                "{error}"
            );
        }
    }
}

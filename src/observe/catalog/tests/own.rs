//! Tests of the operator's own entries beside those of the profile, or in their place.

use super::*;

#[test]
fn own_entries_come_after_those_of_the_profile() {
    let catalog = TestNode::new()
        .configured(
            r#"
            ca = [{ name = "site-ca", certificate = "/s/ca.crt", key = "/s/ca.key" }]
            [[credential]]
            name = "site"
            ca = "site-ca"
            certificate = "/s/a.crt"
            key = "/s/a.key"
            [[credential]]
            name = "watched"
            optional = true
            bundle = "/s/w.pem"
            "#,
        )
        .catalog();
    assert_eq!(catalog.authorities.last().unwrap().name.as_str(), "site-ca");
    assert_eq!(catalog.authorities.last().unwrap().need, Need::Configured);
    let [.., site, watched] = &catalog.credentials[..] else { panic!("{:?}", catalog.credentials) };
    assert_eq!(
        (site.name.as_str(), site.renewal.clone(), &site.need),
        ("site", Renewal::Ours, &Need::Configured)
    );
    assert_eq!(
        (watched.name.as_str(), watched.renewal.clone(), &watched.need),
        ("watched", Renewal::Elsewhere, &Need::Optional)
    );
    assert_eq!(catalog.credentials.len(), 15);
}

#[test]
fn own_entry_replaces_the_profiles_despite_manifests() {
    let catalog = TestNode::new()
        .change(
            "etcd.yaml",
            "--cert-file=/etc/kubernetes/pki/etcd/server.crt",
            "--cert-file=/opt/not-mounted.crt",
        )
        .configured(
            r#"
            ca = [{ name = "ca", certificate = "/s/ca.crt", key = "/s/ca.key" }]
            [[credential]]
            name = "etcd/server"
            certificate = "/s/a.crt"
            key = "/s/a.key"
            [[credential]]
            name = "kubelet-client"
            optional = true
            bundle = "/s/w.pem"
            "#,
        )
        .catalog();
    assert_eq!(catalog.notes, []);
    assert_eq!(catalog.authority_files("ca"), "/s/ca.crt /s/ca.key");
    assert!(catalog.authority("ca").root);
    assert_eq!(catalog.files("etcd/server"), "/s/a.crt /s/a.key");
    let server = catalog.credential("etcd/server");
    assert_eq!(server.authority, AuthorityName::new("etcd-ca").ok());
    assert_eq!(server.kubeadm_name, CredentialName::new("etcd-server").ok());
    assert_eq!((server.renewal.clone(), &server.need), (Renewal::Ours, &Need::Configured));
    assert_eq!(catalog.credential("kubelet-client").renewal, Renewal::Kubelet);
    assert_eq!(catalog.credentials.len(), 13);
}

#[test]
fn conflicting_own_entries_are_refused() {
    let table = [
        (
            "\n[[credential]]\nname = \"x\"\nca = \"acme\"\nbundle = \"/x\"",
            "main.toml:2: [[credential]] \"x\": ca = \"acme\" is not known; the CAs are ca, \
             front-proxy-ca, etcd-ca",
        ),
        (
            "[[credential]]\nname = \"etcd-server\"\nbundle = \"/x\"",
            "main.toml:1: [[credential]] \"etcd-server\" is kubeadm's name for \"etcd/server\": \
             use that one to take its place, or another \
             for your own",
        ),
        (
            "[[credential]]\nname = \"x\"\ncertificate = \"/x.crt\"\nkey = \
             \"/etc/kubernetes/pki/apiserver.key\"",
            "main.toml:1: [[credential]] \"x\" is in /etc/kubernetes/pki/apiserver.key, and so \
             is \"apiserver\": leave one of them \
             out, or give this one the name of the other to take its place",
        ),
    ];
    for (configuration, expected) in table {
        assert_eq!(
            TestNode::new().configured(configuration).try_catalog().unwrap_err().to_string(),
            expected
        );
    }
}

const OWN_SERVICES: &str = r#"
    [[credential]]
    name = "site"
    ca = "ca"
    certificate = "/s/a.crt"
    key = "/s/a.key"
    trial = { service = "site", path = "/x", user = "u" }
    [[credential]]
    name = "client"
    ca = "ca"
    kubeconfig = "/s/k.conf"
    trial = { path = "/api" }
    [[service]]
    name = "site"
    unit = "site.service"
    refresh = "reload"
    health = "http://127.0.0.1:8080/healthz"
    uses = [
      { credential = "site", takes = "restart", served_at = { address = "127.0.0.1:8443" } },
      { credential = "admin.conf", takes = "reloads" },
    ]
    [[service]]
    name = "kube-scheduler"
    pod = "kube-scheduler"
    grace = "5s"
    health = "http://127.0.0.1:1/"
    uses = [{ credential = "scheduler.conf", takes = "restart" }]
    [[service]]
    name = "vip"
    pod = "kube-vip"
    uses = [{ credential = "admin.conf", takes = "restart" }]
    [[service]]
    name = "etcd"
    unit = "etcd.service"
    uses = [
      { credential = "etcd/server", takes = "reloads", served_at = { address = "127.0.0.1:2379" } },
    ]
"#;

#[test]
fn own_services_follow_or_replace_the_profiles() {
    let vip = "kind: Pod\nmetadata: {name: kube-vip}\nspec: {containers: [{name: kube-vip}]}";
    let catalog = TestNode::new().add("vip.yaml", vip).configured(OWN_SERVICES).catalog();
    let names: Vec<&str> = catalog.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "site",
            "vip"
        ]
    );
    let configured = |name: &str| catalog.service(name).configured;
    assert_eq!(
        names.iter().filter(|name| configured(name)).collect::<Vec<_>>(),
        [&"etcd", &"kube-scheduler", &"site", &"vip"]
    );
    assert_eq!(catalog.served_at("site", "site").as_deref(), Some("127.0.0.1:8443"));
    assert_eq!(
        catalog.service("site").kind,
        ServiceKind::Unit { unit: "site.service".to_owned(), refresh: UnitRefresh::Reload }
    );
    let pod = |pod: &str, manifest: &str, grace| ServiceKind::StaticPod {
        pod: pod.to_owned(),
        manifest: Some(manifest.to_owned()),
        grace: Duration::from_secs(grace),
    };
    assert_eq!(catalog.service("vip").kind, pod("kube-vip", "vip.yaml", 30));
    assert_eq!(
        catalog.service("kube-scheduler").kind,
        pod("kube-scheduler", "kube-scheduler.yaml", 5)
    );
    let health = |name: &str| catalog.service(name).health.clone().unwrap_or_default();
    assert_eq!(
        (health("kube-scheduler").as_str(), health("vip").as_str()),
        ("http://127.0.0.1:1/", ""),
        "whatever the manifest says"
    );
    // The protection of the cluster stays.
    assert_eq!(catalog.service("etcd").essential, Some(Essential::EtcdMember));
    let trial = |name: &str| catalog.trials.get(&CredentialName::new(name).unwrap()).cloned();
    assert_eq!(trial("client"), Some(TrialAt::Kubeconfig("/api".to_owned())));
    assert_eq!(
        trial("site"),
        Some(TrialAt::Url {
            url: "https://127.0.0.1:8443/x".to_owned(),
            user: Some("u".to_owned())
        })
    );
    assert_eq!(
        trial("apiserver-etcd-client"),
        Some(TrialAt::Url { url: "https://127.0.0.1:2379/health".to_owned(), user: None })
    );
}

/// The other services that use it are refreshed for the one that is kept.
#[test]
fn own_service_follows_a_replaced_credential() {
    let own = "[[service]]\nname = \"x\"\npid_file = \"/run/x.pid\"\nsignal = \"USR1\"\nuses = [{ \
        credential = \"etcd/peer\", takes = \"restart\" }]";
    let same = |node: TestNode, name: &str| {
        node.change(
            "etcd.yaml",
            &format!("--peer-{name}-file=/etc/kubernetes/pki/etcd/peer."),
            &format!("--peer-{name}-file=/etc/kubernetes/pki/etcd/server."),
        )
    };
    let catalog = same(same(TestNode::new(), "cert"), "key").configured(own).catalog();
    let uses = &catalog.service("x").uses;
    assert_eq!(uses.iter().map(|one| one.credential.as_str()).collect::<Vec<_>>(), ["etcd/server"]);
    let kind =
        ServiceKind::Process { pid_file: path("/run/x.pid"), signal: Signal::Usr1, unit: None };
    assert_eq!(catalog.service("x").kind, kind);
}

#[test]
fn conflicting_own_services_are_refused() {
    let uses = |name: &str| format!("uses = [{{ credential = \"{name}\", takes = \"restart\" }}]");
    let refused =
        |text: String| TestNode::new().configured(&text).try_catalog().unwrap_err().to_string();
    let said = refused(format!(
        "\n[[service]]\nname = \"x\"\nunit = \"x.service\"\n{}",
        uses("admin.config")
    ));
    let expected = "main.toml:2: [[service]] \"x\": uses names \"admin.config\", which is no \
        credential; there are admin.conf, ";
    assert!(said.starts_with(expected), "{said}");
    let said = refused(format!(
        "[[service]]\nname = \"x\"\nunit = \"kubelet.service\"\n{}",
        uses("admin.conf")
    ));
    assert_eq!(
        said,
        "main.toml:1: [[service]] \"x\" is the unit kubelet.service, and so is \"kubelet\": leave \
         one of them out, or give this one the \
         name of the other to take its place"
    );
    let said =
        refused(format!("[[service]]\nname = \"x\"\npod = \"etcd\"\n{}", uses("admin.conf")));
    assert!(said.contains("is the static pod etcd, and so is \"etcd\""), "{said}");
    let trial = |service: &str| {
        format!(
            "[[credential]]\nname = \"c\"\nca = \"ca\"\nbundle = \"/c\"\ntrial = {{ service \
             = \"{service}\", path = \"/\" }}"
        )
    };
    assert_eq!(
        refused(trial("xx")),
        "main.toml:1: [[credential]] \"c\": trial names the service \"xx\", which is not known"
    );
    let own = format!("\n[[service]]\nname = \"x\"\nunit = \"x.service\"\n{}", uses("admin.conf"));
    let said = refused(trial("x") + &own);
    assert_eq!(
        said,
        "main.toml:1: [[credential]] \"c\": trial names the service \"x\", and where it serves is \
         not known"
    );
}

#[test]
fn service_may_use_existing_and_future_copies() {
    let using = |credential: &str| {
        TestNode::new().configured(&format!(
            "[[copy]]\nname = 'one'\nof = 'admin.conf'\nbundle = '/etc/one.pem'\n\
             [[copy]]\nname = 'several'\nof = 'admin.conf'\nkubeconfig = '/home/*/.kube/config'\n\
             [[copy]]\nof = 'admin.conf'\nkubeconfig = '/srv/*/config'\n\
             [[service]]\nname = 's'\nunit = 's.service'\nuses = [{{ credential = '{credential}', \
             takes = 'restart' }}]\n"
        ))
    };
    for known in ["one", "several/alice", "srv/alice/config"] {
        assert!(using(known).try_catalog().is_ok(), "{known}");
    }
    for unknown in ["two", "several", "severals/alice", "srv/alice/other", "srv/config"] {
        let error = using(unknown).try_catalog().unwrap_err().to_string();
        assert!(
            error.contains(&format!("uses names \"{unknown}\", which is no credential"))
                && error.contains("one, "),
            "{error}"
        );
    }
}

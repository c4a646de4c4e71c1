//! Tests of the catalog of nodes as kubeadm makes them, and as operators change them.

mod own;

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::places::pair;
use super::*;
use crate::model::{
    AuthorityName, Essential, KubeletPair, Location, ServiceKind, Signal, Takes, TrustFile,
    UnitRefresh, Use,
};

const FIXTURES: [&str; 2] = ["kubeadm-1.20-rsa2048", "kubeadm-1.36-ecdsa-p256"];

/// A node whose manifests can be changed before its catalog is made.
struct TestNode {
    manifests: Vec<(String, String)>,
    references: BTreeMap<AbsolutePath, Reference>,
    files: Vec<AbsolutePath>,
    kubelet: Option<KubeletSettings>,
    configuration: String,
}

impl TestNode {
    fn fixture(name: &str) -> Self {
        let dir = format!(
            "{}/tests/fixtures/{name}/etc/kubernetes/manifests",
            env!("CARGO_MANIFEST_DIR")
        );
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let manifests = entries
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    fs::read_to_string(entry.path()).unwrap(),
                )
            })
            .collect();
        Self {
            manifests,
            references: BTreeMap::new(),
            files: Vec::new(),
            kubelet: None,
            configuration: String::new(),
        }
    }

    fn new() -> Self {
        Self::fixture(FIXTURES[1])
    }

    fn without_manifests() -> Self {
        Self { manifests: Vec::new(), ..Self::new() }
    }

    /// Replaces a text in the manifest, which must contain it.
    fn change(mut self, file: &str, from: &str, to: &str) -> Self {
        let (_, text) = self.manifests.iter_mut().find(|(name, _)| name == file).unwrap();
        assert!(text.contains(from), "{from}");
        *text = text.replace(from, to);
        self
    }

    fn remove(mut self, file: &str) -> Self {
        self.manifests.retain(|(name, _)| name != file);
        self
    }

    fn add(mut self, file: &str, text: &str) -> Self {
        self.manifests.push((file.to_owned(), text.to_owned()));
        self
    }

    fn configured(mut self, text: &str) -> Self {
        self.configuration = text.to_owned();
        self
    }

    fn try_catalog(&self) -> Result<Catalog, CatalogError> {
        let settings = Settings::from_files(&[("main.toml", &self.configuration)]).unwrap();
        let exists = |path: &AbsolutePath| self.files.contains(path);
        let found = CatalogInput {
            manifests: &parse_manifests(self.manifests.clone()),
            references: &self.references,
            kubelet: self.kubelet.as_ref(),
            configuration: &|_| Err("no file".to_owned()),
            exists: &exists,
            users: &|_| KubeconfigUsers::default(),
            shares_ca: &|_, _| None,
            same_file: &|one, other| one == other,
            matching: &|_| Vec::new(),
        };
        Catalog::build(&settings, &Profile::kubeadm().unwrap(), found)
    }

    fn catalog(&self) -> Catalog {
        self.try_catalog().unwrap()
    }
}

impl Catalog {
    fn credential(&self, name: &str) -> &Credential {
        self.credentials.iter().find(|credential| credential.name.as_str() == name).unwrap()
    }

    fn authority(&self, name: &str) -> &Authority {
        self.authorities.iter().find(|authority| authority.name.as_str() == name).unwrap()
    }

    fn service(&self, name: &str) -> &Service {
        self.services.iter().find(|service| service.name.as_str() == name).unwrap()
    }

    fn served_at(&self, service: &str, credential: &str) -> Option<String> {
        let mut uses = self.service(service).uses.iter();
        uses.find(|one| one.credential.as_str() == credential).unwrap().served_at.clone()
    }

    /// Returns the files of a credential.
    fn files(&self, name: &str) -> String {
        let files: Vec<String> =
            self.credential(name).location.files().map(ToString::to_string).collect();
        files.join(" ")
    }

    fn authority_files(&self, name: &str) -> String {
        let authority = self.authority(name);
        format!("{} {}", authority.certificate, authority.key)
    }

    fn notes(&self) -> Vec<String> {
        self.notes.iter().map(ToString::to_string).collect()
    }
}

fn path(path: &str) -> AbsolutePath {
    AbsolutePath::new(path).unwrap()
}

fn manifest(file: &str) -> Need {
    Need::Manifest(file.to_owned())
}

// ---- nodes as kubeadm makes them ----

#[test]
fn kubeadm_node_has_its_authorities() {
    for fixture in FIXTURES {
        let catalog = TestNode::fixture(fixture).catalog();
        let pki = |name: &str| {
            (
                path(&format!("/etc/kubernetes/pki/{name}.crt")),
                path(&format!("/etc/kubernetes/pki/{name}.key")),
            )
        };
        let expected = [
            ("ca", pki("ca"), true, manifest("kube-apiserver.yaml")),
            ("front-proxy-ca", pki("front-proxy-ca"), false, manifest("kube-apiserver.yaml")),
            ("etcd-ca", pki("etcd/ca"), false, manifest("etcd.yaml")),
        ];
        let expected = expected.map(|(name, (certificate, key), root, need)| {
            let name = AuthorityName::new(name).unwrap();
            ((name, certificate, key), root, need)
        });
        let usual = |authority: &Authority| {
            (authority.name.clone(), authority.certificate.clone(), authority.key.clone())
        };
        assert!(catalog.authorities.iter().map(usual).eq(expected.iter().map(|one| one.0.clone())));
        let needed = catalog.authorities.iter().map(|one| (one.root, one.need.clone()));
        assert!(needed.eq(expected.map(|(_, root, need)| (root, need))));
        assert_eq!(catalog.notes, []);
    }
}

#[test]
fn kubeadm_node_has_its_credentials() {
    for fixture in FIXTURES {
        let catalog = TestNode::fixture(fixture).catalog();
        let apiserver = || manifest("kube-apiserver.yaml");
        let expected = [
            ("apiserver", "pki/apiserver", Some("ca"), apiserver()),
            ("apiserver-kubelet-client", "pki/apiserver-kubelet-client", Some("ca"), apiserver()),
            ("apiserver-etcd-client", "pki/apiserver-etcd-client", Some("etcd-ca"), apiserver()),
            ("front-proxy-client", "pki/front-proxy-client", Some("front-proxy-ca"), apiserver()),
            ("etcd/server", "pki/etcd/server", Some("etcd-ca"), manifest("etcd.yaml")),
            ("etcd/peer", "pki/etcd/peer", Some("etcd-ca"), manifest("etcd.yaml")),
            (
                "etcd/healthcheck-client",
                "pki/etcd/healthcheck-client",
                Some("etcd-ca"),
                Need::Optional,
            ),
            ("admin.conf", "", Some("ca"), Need::Optional),
            ("super-admin.conf", "", Some("ca"), Need::Optional),
            ("controller-manager.conf", "", Some("ca"), manifest("kube-controller-manager.yaml")),
            ("scheduler.conf", "", Some("ca"), manifest("kube-scheduler.yaml")),
        ];
        let (ours, watched): (Vec<_>, Vec<_>) =
            catalog.credentials.iter().partition(|credential| credential.renewal == Renewal::Ours);
        assert_eq!(ours.len(), expected.len());
        for (credential, (name, file, authority, need)) in ours.into_iter().zip(expected) {
            let location = match file {
                "" => Location::Kubeconfig(path(&format!("/etc/kubernetes/{name}"))),
                file => pair(
                    path(&format!("/etc/kubernetes/{file}.crt")),
                    path(&format!("/etc/kubernetes/{file}.key")),
                ),
            };
            assert_eq!(
                (credential.name.as_str(), &credential.location, &credential.need),
                (name, &location, &need)
            );
            assert_eq!(
                credential.authority.as_ref().map(AuthorityName::as_str),
                authority,
                "{name}"
            );
        }
        let watched: Vec<_> = watched
            .iter()
            .map(|credential| {
                (credential.name.as_str(), credential.renewal.clone(), &credential.need)
            })
            .collect();
        assert_eq!(
            watched,
            [
                ("kubelet-client", Renewal::Kubelet, &Need::Optional),
                ("kubelet-serving", Renewal::Kubelet, &Need::Optional)
            ]
        );
        assert_eq!(
            catalog.credential("etcd/server").kubeadm_name,
            CredentialName::new("etcd-server").ok()
        );
    }
}

#[test]
fn kubeadm_node_has_its_services() {
    for (fixture, etcd_health, scheduler_health) in [
        (FIXTURES[0], "http://127.0.0.1:2381/health", "https://127.0.0.1:10259/healthz"),
        (FIXTURES[1], "http://127.0.0.1:2381/readyz", "https://127.0.0.1:10259/readyz"),
    ] {
        let catalog = TestNode::fixture(fixture).catalog();
        let expected = [
            ("etcd", etcd_health),
            ("kube-apiserver", "https://10.200.0.1:6443/readyz"),
            ("kube-controller-manager", "https://127.0.0.1:10257/healthz"),
            ("kube-scheduler", scheduler_health),
            ("kubelet", "http://127.0.0.1:10248/healthz"),
        ];
        for (service, (name, health)) in catalog.services.iter().zip(expected) {
            assert_eq!((service.name.as_str(), service.health.as_deref()), (name, Some(health)));
            let kind = match name {
                "kubelet" => ServiceKind::Unit {
                    unit: "kubelet.service".to_owned(),
                    refresh: UnitRefresh::Restart,
                },
                pod => ServiceKind::StaticPod {
                    pod: pod.to_owned(),
                    manifest: Some(format!("{pod}.yaml")),
                    grace: grace(pod),
                },
            };
            assert_eq!(service.kind, kind);
        }
        assert_eq!(catalog.services.len(), expected.len());
    }
}

#[test]
fn services_trust_files_of_their_flags_and_kubeconfigs() {
    let pem = |path: &'static str| TrustFile::Pem(AbsolutePath::constant(path));
    let kubeconfig = |path: &'static str| TrustFile::Kubeconfig(AbsolutePath::constant(path));
    for fixture in FIXTURES {
        let catalog = TestNode::fixture(fixture).catalog();
        for service in &catalog.services {
            let expected = match service.name.as_str() {
                "kube-controller-manager" => vec![
                    pem("/etc/kubernetes/pki/ca.crt"),
                    kubeconfig("/etc/kubernetes/controller-manager.conf"),
                ],
                "kube-scheduler" => vec![kubeconfig("/etc/kubernetes/scheduler.conf")],
                "kubelet" => vec![kubeconfig("/etc/kubernetes/kubelet.conf")],
                "etcd" | "kube-apiserver" => vec![pem("/etc/kubernetes/pki/etcd/ca.crt")],
                _ => Vec::new(),
            };
            assert_eq!(service.trusts, expected, "{}", service.name);
            let signs = service.name.as_str() == "kube-controller-manager";
            assert_eq!(service.one_certificate.is_some(), signs, "{}", service.name);
        }
    }
}

#[test]
fn own_entry_adds_to_what_the_profile_says_of_trust() {
    let own = "[[service]]\nname = 'kubelet'\nunit = 'kubelet.service'\nrefresh = 'restart'\n\
        trusts = [{ file = '/srv/ca.crt' }]\n\
        uses = [{ credential = 'kubelet-client', takes = 'reloads' }]\n";
    let catalog = TestNode::new().configured(own).catalog();
    let expected = [
        TrustFile::Pem(AbsolutePath::constant("/srv/ca.crt")),
        TrustFile::Kubeconfig(AbsolutePath::constant("/etc/kubernetes/kubelet.conf")),
    ];
    assert_eq!(catalog.service("kubelet").trusts, expected);
}

/// A long grace would keep the API server's listener closed.
fn grace(pod: &str) -> Duration {
    Duration::from_secs(if pod == "kube-apiserver" { 1 } else { 30 })
}

#[test]
fn credentials_needed_by_others_are_marked() {
    let catalog = TestNode::new().catalog();
    let essential = catalog.services.iter().filter(|service| service.essential.is_some());
    assert_eq!(
        essential.map(|service| service.name.as_str()).collect::<Vec<_>>(),
        ["etcd", "kube-apiserver"]
    );
}

#[test]
fn essential_services_are_marked() {
    let catalog = TestNode::new().catalog();
    let named = |pick: fn(&Service) -> bool| {
        catalog
            .services
            .iter()
            .filter(|service| pick(service))
            .map(|service| service.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(|service| service.essential.is_some()), ["etcd", "kube-apiserver"]);
}

/// Its image says the version of each service.
#[test]
fn certificates_in_memory_live_longer_from_version_1_33_on() {
    let own = "[[service]]\nname = \"kube-scheduler\"\npod = \"kube-scheduler\"\n\
        uses = [{ credential = \"scheduler.conf\", takes = \"restart\" }]\n";
    let with = |configuration: &str, tag: &str| {
        let mut node = TestNode::new().configured(configuration);
        for (_, text) in &mut node.manifests {
            let line = text.lines().find(|line| line.trim_start().starts_with("image:"));
            let image = line.map(str::to_owned).filter(|line| line.contains("kube-scheduler"));
            if let Some(image) = image {
                *text = text.replace(&image, &format!("    image: registry/kube-scheduler{tag}"));
            }
        }
        let catalog = node.catalog();
        let aging = catalog.services.iter().filter(|service| service.ages);
        aging.map(|service| service.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(with(own, ":v1.32.9"), ["kube-scheduler"], "that stays");
    let aging = |tag: &str| !with("", tag).is_empty();
    for tag in [":v1.20.2", ":v1.32.9", ":v1.32.13-eks-1", "@sha256:0123", ":latest", ""] {
        assert!(aging(tag), "{tag}");
    }
    for tag in [":v1.33.0", ":v1.36.2@sha256:0123", ":v2.0.0"] {
        assert!(!aging(tag), "{tag}");
    }
}

#[test]
fn services_have_their_refresh_method() {
    let catalog = TestNode::new().catalog();
    let uses = |service: &Service| {
        let name = service.name.to_string();
        let describe = move |one: &Use| {
            let address =
                one.served_at.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
            let port = one.to_port.map(|port| format!(" to {port}")).unwrap_or_default();
            format!("{name} {} {:?}{address}{port}", one.credential, one.takes)
        };
        service.uses.iter().map(describe).collect::<Vec<_>>()
    };
    let all: Vec<String> = catalog.services.iter().flat_map(uses).collect();
    let expected = [
        "etcd etcd/server Reloads at 127.0.0.1:2379",
        "etcd etcd/peer Reloads at 10.200.0.1:2380",
        "kube-apiserver apiserver Reloads at 10.200.0.1:6443",
        "kube-apiserver apiserver-kubelet-client NewConnections to 10250",
        "kube-apiserver apiserver-etcd-client Reloads",
        "kube-apiserver front-proxy-client Reloads",
        "kube-controller-manager controller-manager.conf Restart",
        "kube-scheduler scheduler.conf Restart",
        "kubelet kubelet-client Reloads",
        "kubelet kubelet-serving Reloads at 127.0.0.1:10250",
    ];
    assert_eq!(all, expected);
}

// ---- other paths ----

#[test]
fn client_certificates_are_tried_at_their_server() {
    let shown = |node: &TestNode| {
        let trials = node.catalog().trials;
        let text = |at: &TrialAt| match at {
            TrialAt::Kubeconfig(path) => format!("its own server, {path}"),
            TrialAt::Url { url, user: None } => url.clone(),
            TrialAt::Url { url, user: Some(user) } => format!("{url} for {user}"),
        };
        trials.iter().map(|(name, at)| format!("{name}: {}", text(at))).collect::<Vec<_>>()
    };
    let kubeconfigs =
        ["admin.conf", "controller-manager.conf", "scheduler.conf", "super-admin.conf"];
    let kubeconfigs: Vec<_> =
        kubeconfigs.iter().map(|name| format!("{name}: its own server, /api")).collect();
    let with = |others: &[&str]| {
        let mut all: Vec<String> =
            others.iter().map(|text| (*text).to_owned()).chain(kubeconfigs.clone()).collect();
        all.sort();
        all
    };
    let kubelet = "apiserver-kubelet-client: https://127.0.0.1:10250/pods";
    let etcd = "apiserver-etcd-client: https://127.0.0.1:2379/health";
    let check = "etcd/healthcheck-client: https://127.0.0.1:2379/health";
    let front = "front-proxy-client: https://10.200.0.1:6443/api for kubecertd";
    assert_eq!(shown(&TestNode::new()), with(&[kubelet, etcd, check, front]));
    assert_eq!(
        shown(&TestNode::new().remove("etcd.yaml")),
        with(&[kubelet, front]),
        "no etcd here to ask"
    );
}

#[test]
fn host_directory_mounted_elsewhere_is_followed() {
    let node = FIXTURES_MANIFESTS.iter().fold(TestNode::new(), |node, file| {
        node.change(file, "      path: /etc/kubernetes/pki", "      path: /srv/pki")
    });
    let catalog = node.catalog();
    assert_eq!(catalog.authority_files("ca"), "/srv/pki/ca.crt /srv/pki/ca.key");
    assert_eq!(
        catalog.authority_files("front-proxy-ca"),
        "/srv/pki/front-proxy-ca.crt /srv/pki/front-proxy-ca.key"
    );
    assert_eq!(catalog.authority_files("etcd-ca"), "/srv/pki/etcd/ca.crt /srv/pki/etcd/ca.key");
    assert_eq!(catalog.files("apiserver"), "/srv/pki/apiserver.crt /srv/pki/apiserver.key");
    assert_eq!(catalog.files("etcd/peer"), "/srv/pki/etcd/peer.crt /srv/pki/etcd/peer.key");
    // No flag names this one; it lies beside the server's.
    assert_eq!(
        catalog.files("etcd/healthcheck-client"),
        "/srv/pki/etcd/healthcheck-client.crt /srv/pki/etcd/healthcheck-client.key"
    );
    assert_eq!(catalog.credential("etcd/healthcheck-client").need, Need::Optional);
    assert_eq!(catalog.files("admin.conf"), "/etc/kubernetes/admin.conf");
    assert_eq!(catalog.notes, []);
}

/// The manifests that mount the certificates.
const FIXTURES_MANIFESTS: [&str; 3] =
    ["etcd.yaml", "kube-apiserver.yaml", "kube-controller-manager.yaml"];

#[test]
fn flags_with_other_paths_are_followed() {
    let catalog = TestNode::new()
        .change(
            "kube-apiserver.yaml",
            "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
            "--tls-cert-file=/etc/ssl/certs/a.pem",
        )
        .change(
            "kube-apiserver.yaml",
            "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
            "--tls-private-key-file=/etc/ssl/certs/k.pem",
        )
        .catalog();
    assert_eq!(catalog.files("apiserver"), "/etc/ssl/certs/a.pem /etc/ssl/certs/k.pem");
    assert_eq!(
        catalog.files("front-proxy-client"),
        "/etc/kubernetes/pki/front-proxy-client.crt /etc/kubernetes/pki/front-proxy-client.key"
    );
}

#[test]
fn kubeconfig_mounted_as_file_or_sub_path_is_followed() {
    let file = "kube-scheduler.yaml";
    let single = TestNode::new()
        .change(file, "      path: /etc/kubernetes/scheduler.conf", "      path: /srv/s.conf")
        .catalog();
    assert_eq!(single.files("scheduler.conf"), "/srv/s.conf");
    let below = TestNode::new()
        .change(file, "      path: /etc/kubernetes/scheduler.conf", "      path: /srv")
        .change(
            file,
            "      name: kubeconfig\n",
            "      name: kubeconfig\n      subPath: conf/s.conf\n",
        )
        .catalog();
    assert_eq!(below.files("scheduler.conf"), "/srv/conf/s.conf");
}

/// `ca` is ca.crt, whatever bundle the API server trusts.
#[test]
fn client_ca_bundle_leaves_ca_at_ca_crt() {
    let mut node = TestNode::new().change(
        "kube-apiserver.yaml",
        "--client-ca-file=/etc/kubernetes/pki/ca.crt",
        "--client-ca-file=/etc/kubernetes/pki/all/clients.crt",
    );
    let ca = |node: &TestNode| node.catalog().authority_files("ca");
    assert_eq!(
        ca(&node),
        "/etc/kubernetes/pki/all/clients.crt /etc/kubernetes/pki/all/clients.key",
        "there is no ca.crt"
    );
    node.files.push(path("/etc/kubernetes/pki/ca.crt"));
    assert_eq!(ca(&node), "/etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key");
    node.files.push(path("/etc/kubernetes/pki/all/ca.crt"));
    assert_eq!(ca(&node), "/etc/kubernetes/pki/all/ca.crt /etc/kubernetes/pki/all/ca.key");
    assert_eq!(node.catalog().authority("ca").need, manifest("kube-apiserver.yaml"));
}

/// Signing flags that name a file of their own never move `ca`.
#[test]
fn signing_flags_elsewhere_leave_ca_at_ca_crt() {
    let moved = |node: TestNode| {
        let kinds = ["cert-file=/etc/kubernetes/pki/ca.crt", "key-file=/etc/kubernetes/pki/ca.key"];
        kinds.iter().fold(node, |node, kind| {
            let flag = format!("--cluster-signing-{kind}");
            let moved = flag.replace("/ca.", "/signing.");
            node.change("kube-controller-manager.yaml", &flag, &moved)
        })
    };
    for files in [vec![], vec![path("/etc/kubernetes/pki/ca.key")]] {
        let node = TestNode { files, ..moved(TestNode::new()) };
        let catalog = node.catalog();
        assert_eq!(
            catalog.authority_files("ca"),
            "/etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key"
        );
        assert_eq!(catalog.authority("ca").need, manifest("kube-apiserver.yaml"));
    }
    let without = TestNode::new().remove("kube-apiserver.yaml").catalog();
    assert_eq!(
        without.authority("ca").need,
        manifest("kube-controller-manager.yaml"),
        "it names the same client CA"
    );
}

#[test]
fn signing_key_counts_without_ca_key_and_for_the_same_certificate() {
    let mut node =
        TestNode::new().change("kube-controller-manager.yaml", "pki/ca.key", "pki/signer.key");
    let ca = |node: &TestNode| node.catalog().authority_files("ca");
    assert_eq!(ca(&node), "/etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/signer.key");
    node.files.push(path("/etc/kubernetes/pki/ca.key"));
    assert_eq!(ca(&node), "/etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key");
}

/// kubeadm writes empty flags where the authority is external.
#[test]
fn empty_signing_flags_leave_ca_at_ca_crt() {
    let catalog = TestNode::new()
        .change(
            "kube-controller-manager.yaml",
            "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
            "--cluster-signing-cert-file=",
        )
        .change(
            "kube-controller-manager.yaml",
            "--cluster-signing-key-file=/etc/kubernetes/pki/ca.key",
            "--cluster-signing-key-file=",
        )
        .catalog();
    assert_eq!(
        catalog.authority_files("ca"),
        "/etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key"
    );
    assert_eq!(catalog.authority("ca").need, manifest("kube-apiserver.yaml"));
}

#[test]
fn external_etcd_needs_only_its_client() {
    let catalog = TestNode::new()
        .remove("etcd.yaml")
        .change(
            "kube-apiserver.yaml",
            "/etc/kubernetes/pki/etcd/ca.crt",
            "/etc/kubernetes/pki/external/etcd-ca.crt",
        )
        .change(
            "kube-apiserver.yaml",
            "/etc/kubernetes/pki/apiserver-etcd-client",
            "/etc/kubernetes/pki/external/client",
        )
        .catalog();
    assert_eq!(
        catalog.files("apiserver-etcd-client"),
        "/etc/kubernetes/pki/external/client.crt /etc/kubernetes/pki/external/client.key"
    );
    assert_eq!(catalog.credential("apiserver-etcd-client").need, manifest("kube-apiserver.yaml"));
    assert_eq!(
        catalog.authority_files("etcd-ca"),
        "/etc/kubernetes/pki/external/etcd-ca.crt /etc/kubernetes/pki/external/etcd-ca.key"
    );
    for name in ["etcd/server", "etcd/peer", "etcd/healthcheck-client"] {
        assert_eq!(catalog.credential(name).need, Need::Optional, "{name}");
    }
    let etcd = catalog.service("etcd");
    assert_eq!(
        etcd.kind,
        ServiceKind::StaticPod { pod: "etcd".to_owned(), manifest: None, grace: grace("etcd") }
    );
    assert!(etcd.uses.iter().all(|one| one.served_at.is_none()));
    assert_eq!(etcd.health, None);
}

#[test]
fn path_not_on_the_host_is_noted_and_the_default_kept() {
    let catalog = TestNode::new()
        .change("kube-apiserver.yaml", "=/etc/kubernetes/pki/front-proxy-client.crt", "=/opt/f.crt")
        .catalog();
    assert_eq!(
        catalog.files("front-proxy-client"),
        "/etc/kubernetes/pki/front-proxy-client.crt /etc/kubernetes/pki/front-proxy-client.key"
    );
    assert_eq!(catalog.credential("front-proxy-client").need, Need::Optional);
    assert_eq!(
        catalog.notes(),
        ["manifest kube-apiserver.yaml: --proxy-client-cert-file=/opt/f.crt: no hostPath volume \
             is mounted there; the usual path is used"]
    );
}

#[test]
fn one_file_under_two_names_is_one_credential() {
    let catalog = TestNode::new()
        .change(
            "kube-scheduler.yaml",
            "/etc/kubernetes/scheduler.conf",
            "/etc/kubernetes/admin.conf",
        )
        .change("etcd.yaml", "pki/etcd/peer", "pki/etcd/server")
        .catalog();
    assert_eq!(catalog.credentials.len(), 11);
    assert_eq!(catalog.service("kube-scheduler").uses[0].credential.as_str(), "admin.conf");
    assert_eq!(catalog.service("kube-scheduler").uses[0].takes, Takes::Restart);
    assert!(
        catalog.service("etcd").uses.iter().all(|one| one.credential.as_str() == "etcd/server")
    );
    assert_eq!(
        catalog.notes(),
        [
            "etcd/peer and etcd/server are the same credential \
             (/etc/kubernetes/pki/etcd/server.crt): it is listed as etcd/server",
            "scheduler.conf and admin.conf are the same credential (/etc/kubernetes/admin.conf): \
             it is listed as admin.conf",
        ]
    );
    assert_eq!(catalog.credential("admin.conf").need, manifest("kube-scheduler.yaml"));
}

/// A profile may pair files of any names; only a certificate elsewhere has its key beside it.
#[test]
fn certificate_at_its_default_path_keeps_its_default_key() {
    let text = "
        format = 1
        name = 'site'
        [[ca]]
        name = 'ca'
        certificate = '/etc/kubernetes/pki/ca.crt'
        key = '/etc/kubernetes/private/signer.pem'
        flags = [{ pod = 'kube-apiserver', certificate = 'client-ca-file' }]
        [[credential]]
        name = 'apiserver'
        ca = 'ca'
        certificate = '/etc/kubernetes/pki/apiserver.crt'
        key = '/etc/kubernetes/private/apiserver.pem'
        flags = { pod = 'kube-apiserver', certificate = 'tls-cert-file', key = 'no-such-flag' }
    ";
    let profile = Profile::parse(Path::new("site.toml"), text).unwrap();
    let build = |node: &TestNode| {
        let found = CatalogInput {
            manifests: &parse_manifests(node.manifests.clone()),
            references: &node.references,
            kubelet: None,
            configuration: &|_| Err("no file".to_owned()),
            exists: &|_| false,
            users: &|_| KubeconfigUsers::default(),
            shares_ca: &|_, _| None,
            same_file: &|one, other| one == other,
            matching: &|_| Vec::new(),
        };
        Catalog::build(&Settings::default(), &profile, found).unwrap()
    };
    let usual = build(&TestNode::new());
    assert_eq!(
        usual.authority_files("ca"),
        "/etc/kubernetes/pki/ca.crt /etc/kubernetes/private/signer.pem"
    );
    assert_eq!(
        usual.files("apiserver"),
        "/etc/kubernetes/pki/apiserver.crt /etc/kubernetes/private/apiserver.pem"
    );
    let moved = build(&TestNode::new().change(
        "kube-apiserver.yaml",
        "=/etc/kubernetes/pki/",
        "=/etc/kubernetes/pki/new/",
    ));
    assert_eq!(
        moved.authority_files("ca"),
        "/etc/kubernetes/pki/new/ca.crt /etc/kubernetes/pki/new/ca.key"
    );
    assert_eq!(
        moved.files("apiserver"),
        "/etc/kubernetes/pki/new/apiserver.crt /etc/kubernetes/pki/new/apiserver.key"
    );
}

// ---- kubelet's own ----

#[test]
fn file_named_in_kubelets_kubeconfig_is_used() {
    let mut node = TestNode::new();
    assert_eq!(
        node.catalog().files("kubelet-client"),
        "/var/lib/kubelet/pki/kubelet-client-current.pem"
    );
    assert_eq!(node.catalog().credential("kubelet-client").need, Need::Optional);
    assert_eq!(node.catalog().kubeconfigs.len(), 0, "there is no kubelet.conf");
    let conf = path("/etc/kubernetes/kubelet.conf");
    let (pem, other) = (path("/srv/kubelet.pem"), path("/srv/kubelet.key"));
    node.references
        .insert(conf.clone(), Reference::Files { certificate: pem.clone(), key: pem.clone() });
    let catalog = node.catalog();
    assert_eq!(catalog.credential("kubelet-client").location, Location::Bundle(pem.clone()));
    assert_eq!(catalog.credential("kubelet-client").need, Need::Kubeconfig(conf.clone()));
    assert_eq!(catalog.kubeconfigs.values().collect::<Vec<_>>(), [&conf]);
    node.references
        .insert(conf.clone(), Reference::Files { certificate: pem.clone(), key: other.clone() });
    assert_eq!(node.catalog().credential("kubelet-client").location, pair(pem, other));
    node.references.insert(conf.clone(), Reference::Embedded);
    assert_eq!(
        node.catalog().files("kubelet-client"),
        "/var/lib/kubelet/pki/kubelet-client-current.pem"
    );
    assert_eq!(node.catalog().kubeconfigs.len(), 1);
    let own = node
        .configured("[[credential]]\nname = \"kubelet-client\"\nbundle = \"/srv/own.pem\"\n")
        .catalog();
    assert_eq!(own.kubeconfigs.len(), 0, "the operator has the last word");
    let asked: Vec<String> =
        Profile::kubeadm().unwrap().kubeconfig_references().map(ToString::to_string).collect();
    assert_eq!(asked, ["/etc/kubernetes/kubelet.conf"]);
}

#[test]
fn kubelet_serving_pair_is_used_only_without_bundle() {
    let bundle = "/var/lib/kubelet/pki/kubelet-server-current.pem";
    let own = "/var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet.key";
    for (files, expected) in [
        (&[][..], bundle),
        (&[path(bundle)], bundle),
        (&[path("/var/lib/kubelet/pki/kubelet.crt")], own),
        (&[path("/var/lib/kubelet/pki/kubelet.crt"), path(bundle)], bundle),
    ] {
        let node = TestNode { files: files.to_vec(), ..TestNode::new() };
        assert_eq!(node.catalog().files("kubelet-serving"), expected, "{files:?}");
    }
}

/// A machine that has joined no cluster lacks the file too, and so does one that is joining.
#[test]
fn kubeconfig_that_kubelet_names_is_lost_only_on_a_node() {
    let (conf, bootstrap) =
        (path("/etc/kubernetes/kubelet.conf"), path("/etc/kubernetes/bootstrap-kubelet.conf"));
    let pem = path("/var/lib/kubelet/pki/kubelet-client-current.pem");
    let settings = KubeletSettings {
        serving: KubeletServing::SelfSigned(pair(path("/a"), path("/b"))),
        rotation_off: None,
        address: String::new(),
        runtime: None,
        kubeconfig: Some(conf.clone()),
        bootstrap: Some(bootstrap.clone()),
    };
    let lost = |manifests: bool, files: &[&AbsolutePath], settings: Option<&KubeletSettings>| {
        let mut node = TestNode::new();
        node.kubelet = settings.cloned();
        node.files = files.iter().map(|file| (*file).clone()).collect();
        if !manifests {
            node.manifests.clear();
        }
        node.catalog().kubeconfigs.values().eq([&conf])
    };
    assert!(lost(true, &[], Some(&settings)));
    assert!(lost(false, &[&pem], Some(&settings)));
    assert!(!lost(false, &[], Some(&settings)), "no node");
    assert!(!lost(true, &[&pem, &bootstrap], Some(&settings)), "kubelet makes it");
    assert!(!lost(true, &[&pem, &conf], Some(&settings)), "it is there, and names no certificate");
    assert!(!lost(true, &[&pem], None));
    let other = KubeletSettings { kubeconfig: Some(path("/srv/kubeconfig")), ..settings.clone() };
    assert!(!lost(true, &[&pem], Some(&other)), "kubelet uses another one");
}

/// An own entry of another name for the files that kubelet's configuration names takes the place of
/// the profile's; and kubelet is asked where its configuration says.
#[test]
fn kubelet_configuration_moves_its_serving_certificate() {
    let named = pair(path("/etc/kubelet/tls.crt"), path("/etc/kubelet/tls.key"));
    let by = "tlsCertFile in config.yaml".to_owned();
    let settings = KubeletSettings {
        serving: KubeletServing::Named { location: named.clone(), by: by.clone() },
        rotation_off: None,
        address: "127.0.0.1:10251".to_owned(),
        runtime: None,
        kubeconfig: None,
        bootstrap: None,
    };
    let bundle = path("/var/lib/kubelet/pki/kubelet-server-current.pem");
    let files = vec![bundle.clone(), path("/etc/kubelet/tls.crt"), path("/etc/kubelet/tls.key")];
    let node = TestNode { files, kubelet: Some(settings.clone()), ..TestNode::new() };
    let catalog = node.catalog();
    let serving = catalog.credential("kubelet-serving");
    let expected = Renewal::Operator(KubeletPair::Named(by.clone()));
    assert_eq!((&serving.location, &serving.renewal), (&named, &expected));
    assert_eq!(serving.need, Need::Kubelet(by));
    let at = Some("127.0.0.1:10251".to_owned());
    assert_eq!(catalog.served_at("kubelet", "kubelet-serving"), at);
    let own = node.configured(
        "[[credential]]\nname = \"own\"\nca = \"ca\"\n\
         certificate = \"/etc/kubelet/tls.crt\"\nkey = \"/etc/kubelet/tls.key\"\n",
    );
    let catalog = own.catalog();
    assert_eq!(catalog.credential("own").renewal, Renewal::Ours);
    assert!(!catalog.credentials.iter().any(|one| one.name.as_str() == "kubelet-serving"));
    assert_eq!(catalog.served_at("kubelet", "own"), at);

    let before = Some(named.clone());
    let requested = |files: &[AbsolutePath]| {
        let serving = KubeletServing::Requested { bundle: bundle.clone(), before: before.clone() };
        let kubelet = Some(KubeletSettings { serving, ..settings.clone() });
        let node = TestNode { files: files.to_vec(), kubelet, ..TestNode::new() };
        let catalog = node.catalog();
        let serving = catalog.credential("kubelet-serving");
        assert_eq!((&serving.renewal, &serving.need), (&Renewal::Kubelet, &Need::Optional));
        serving.location.clone()
    };
    let pem = Location::Bundle(bundle.clone());
    assert_eq!(requested(&[]), pem);
    assert_eq!(requested(&own.files), pem);
    assert_eq!(requested(&own.files[1..]), named, "until the cluster has signed one");
}

// ---- addresses ----

#[test]
fn other_addresses_and_ports_are_followed() {
    let file = "kube-apiserver.yaml";
    let serves = |from: &str, to: &str| {
        TestNode::new().change(file, from, to).catalog().served_at("kube-apiserver", "apiserver")
    };
    assert_eq!(
        serves("--secure-port=6443", "--secure-port=16443").as_deref(),
        Some("10.200.0.1:16443")
    );
    assert_eq!(serves("--secure-port=6443", "--secure-port=0"), None);
    assert_eq!(
        serves("--advertise-address=10.200.0.1", "--advertise-address=fd00::1").as_deref(),
        Some("[fd00::1]:6443")
    );
    assert_eq!(
        serves("--advertise-address=10.200.0.1", "--bind-address=0.0.0.0").as_deref(),
        Some("127.0.0.1:6443")
    );
    let bound = "--advertise-address=10.200.0.1\n    - --bind-address=10.0.0.9";
    assert_eq!(serves("--advertise-address=10.200.0.1", bound).as_deref(), Some("10.0.0.9:6443"));
    let bound = "--advertise-address=10.200.0.1\n    - \"--bind-address=::\"";
    assert_eq!(serves("--advertise-address=10.200.0.1", bound).as_deref(), Some("10.200.0.1:6443"));

    let etcd = |urls: &str| {
        let node = TestNode::new().change(
            "etcd.yaml",
            "https://127.0.0.1:2379,https://10.200.0.1:2379",
            urls,
        );
        node.catalog().served_at("etcd", "etcd/server")
    };
    assert_eq!(
        etcd("http://127.0.0.1:2379,https://10.200.0.1:12379/").as_deref(),
        Some("10.200.0.1:12379")
    );
    assert_eq!(etcd("https://0.0.0.0:2379").as_deref(), Some("127.0.0.1:2379"));
    assert_eq!(etcd("https://[::]:2379").as_deref(), Some("127.0.0.1:2379"));
    assert_eq!(etcd("https://[fd00::1]:2379").as_deref(), Some("[fd00::1]:2379"));
    assert_eq!(etcd("http://127.0.0.1:2379"), None);

    let manager = TestNode::new()
        .change(
            "kube-controller-manager.yaml",
            "--bind-address=127.0.0.1",
            "--bind-address=0.0.0.0",
        )
        .change("kube-controller-manager.yaml", "--leader-elect=true", "--secure-port=20257")
        .change("kube-controller-manager.yaml", "containerPort: 10257", "containerPort: 20257")
        .catalog();
    assert_eq!(
        manager.service("kube-controller-manager").health.as_deref(),
        Some("https://127.0.0.1:20257/healthz")
    );
}

// ---- the manifests directory ----

#[test]
fn missing_manifests_keep_the_default_paths() {
    let catalog = TestNode::without_manifests().catalog();
    assert_eq!(catalog.credentials.len(), 13);
    assert!(catalog.credentials.iter().all(|credential| credential.need == Need::Optional));
    assert!(catalog.authorities.iter().all(|authority| authority.need == Need::Optional));
    assert_eq!(
        catalog.files("apiserver"),
        "/etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key"
    );
    let uses = catalog.services.iter().flat_map(|service| &service.uses);
    let served: Vec<&str> =
        uses.filter(|one| one.served_at.is_some()).map(|one| one.credential.as_str()).collect();
    assert_eq!(served, ["kubelet-serving"]);
    assert_eq!(catalog.notes, []);
}

#[test]
fn json_manifest_with_args_is_read() {
    let json = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kube-scheduler"},
        "spec": {
        "containers": [{"name": "kube-scheduler", "command": ["kube-scheduler"],
                        "args": ["--kubeconfig", "/conf/s.conf"],
                        "volumeMounts": [{"name": "k", "mountPath": "/conf"}]}],
        "volumes": [{"name": "k", "hostPath": {"path": "/srv/conf"}}]}}"#;
    let catalog =
        TestNode::new().remove("kube-scheduler.yaml").add("scheduler.json", json).catalog();
    assert_eq!(catalog.files("scheduler.conf"), "/srv/conf/s.conf");
    assert_eq!(catalog.credential("scheduler.conf").need, manifest("scheduler.json"));
    // Without flags and probe, the defaults.
    let scheduler = catalog.service("kube-scheduler");
    assert_eq!(scheduler.health.as_deref(), Some("https://127.0.0.1:10259/healthz"));
}

#[test]
fn hidden_files_are_ignored_and_any_extension_is_read() {
    let node = TestNode::new();
    let scheduler =
        node.manifests.iter().find(|(file, _)| file == "kube-scheduler.yaml").unwrap().1.clone();
    let node = node.remove("kube-scheduler.yaml");
    let hidden = node.add(".kube-scheduler.yaml", &scheduler).add(".broken", "[");
    let catalog = hidden.catalog();
    assert_eq!(catalog.credential("scheduler.conf").need, Need::Optional);
    assert_eq!(catalog.notes, []);
    let catalog = hidden.add("kube-scheduler.yaml.bak", &scheduler).catalog();
    assert_eq!(catalog.credential("scheduler.conf").need, manifest("kube-scheduler.yaml.bak"));
}

#[test]
fn manifest_backup_is_noted_and_the_first_by_name_is_used() {
    let node = TestNode::new();
    let etcd = node.manifests.iter().find(|(file, _)| file == "etcd.yaml").unwrap().1.clone();
    let mut node = node.add("etcd.yaml.bak", &etcd.replace("/pki/etcd/server", "/pki/etcd/old"));
    node.manifests.sort_by(|one, other| other.cmp(one)); // a directory is listed in any order
    let catalog = node.catalog();
    assert_eq!(
        catalog.files("etcd/server"),
        "/etc/kubernetes/pki/etcd/server.crt /etc/kubernetes/pki/etcd/server.key"
    );
    assert_eq!(
        catalog.notes(),
        ["manifests etcd.yaml and etcd.yaml.bak are both for the pod etcd: the second is \
             ignored here, but kubelet, which reads every file whose name does not begin with a \
             dot, may run it; move it elsewhere"]
    );
}

#[test]
fn broken_manifest_is_noted_and_affects_nothing_else() {
    let node = TestNode::new()
        .remove("kube-apiserver.yaml")
        .add("kube-apiserver.yaml", "kind: Pod\nmetadata: [");
    let catalog = node.catalog();
    assert_eq!(
        catalog.files("apiserver"),
        "/etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key"
    );
    assert_eq!(catalog.credential("apiserver").need, Need::Optional);
    assert_eq!(catalog.credential("etcd/server").need, manifest("etcd.yaml"));
    let apiserver = catalog.service("kube-apiserver");
    let kind = ServiceKind::StaticPod {
        pod: "kube-apiserver".to_owned(),
        manifest: Some("kube-apiserver.yaml".to_owned()),
        grace: grace("kube-apiserver"),
    };
    assert_eq!(apiserver.kind, kind);
    assert_eq!(catalog.served_at("kube-apiserver", "apiserver").as_deref(), Some("127.0.0.1:6443"));
    assert_eq!(apiserver.health.as_deref(), Some("https://127.0.0.1:6443/readyz"));
    let [note] = &catalog.notes()[..] else { panic!("{:?}", catalog.notes) };
    assert!(
        note.starts_with("manifest kube-apiserver.yaml: it can't be read as a pod: "),
        "{note}"
    );
}

#[test]
fn other_pods_are_ignored() {
    let text = "kind: Pod\nmetadata: {name: kube-vip}\nspec: {containers: [{name: kube-vip}]}";
    assert_eq!(TestNode::new().add("kube-vip.yaml", text).catalog(), TestNode::new().catalog());
}

// ---- own entries ----

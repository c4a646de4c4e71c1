//! New certificates shown to servers in this process, and renewals that meet such servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::Instant as Began;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::super::{RenewError, RenewOutcome, Renewal, renew};
use super::*;
use crate::credentials::ObservedFiles;
use crate::drivers::tls::servers::{Authority, Pair, VERSIONS, accept, server};
use crate::model::{
    AbsolutePath, AuthorityName, Credential, CredentialFacts, Digest, KeyChoice, Need, Timestamp,
    Urgency, days,
};
use crate::observe::{Catalog, observe};
use crate::plan::Terms;
use crate::store::Store;

/// Runs a server until the test ends: for code that waits on its own thread.
fn on_a_thread<F: Future<Output = String>>(serve: impl FnOnce() -> F + Send + 'static) -> String {
    let (sender, received) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async move {
            sender.send(serve().await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    received.recv().unwrap()
}

/// A server that demands a client certificate and answers with a status by whose it is.
pub fn answers(
    config: Arc<ServerConfig>,
    status: impl Fn(Digest) -> u16 + Send + Clone + 'static,
) -> String {
    on_a_thread(async move || {
        accept(async move |stream| {
            let Ok(mut stream) = TlsAcceptor::from(config.clone()).accept(stream).await else {
                return;
            };
            let shown =
                stream.get_ref().1.peer_certificates().map(|chain| Digest::of(&chain[0])).unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            let answer = format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", status(shown));
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        })
        .await
    })
}

/// An old certificate, a new one, and the authority of both and of the server.
pub struct Client {
    pub authority: Authority,
    pub old: Pair,
    pub new: Pair,
}

impl Client {
    pub fn new() -> Self {
        let authority = Authority::new("ca");
        let (old, new) = (authority.pair(), authority.pair());
        Self { authority, old, new }
    }

    /// A server that answers the old and the new one so.
    pub fn server(&self, old: u16, new: u16) -> String {
        let first = self.old.certificate.fingerprint;
        let config = server(&self.authority.pair(), VERSIONS[1], Some(&self.authority));
        answers(config, move |shown| if shown == first { old } else { new })
    }

    fn ready(&self, address: &str, forbidden_is_known: bool) -> Ready {
        let url = format!("https://{address}/api");
        let trust = Trust::Authorities(vec![self.authority.certificate()]);
        let target = TrialTarget {
            server: server_of(&url).to_owned(),
            url,
            user: None,
            trust,
            forbidden_is_known,
        };
        Ready { target, new: self.new.identity(), old: self.old.identity() }
    }

    fn trial(&self, address: &str) -> Trial {
        run(self.ready(address, false))
    }
}

fn run(ready: Ready) -> Trial {
    let name = CredentialName::new("admin.conf").unwrap();
    ask_all(vec![(name, String::new(), ready)]).remove(0).2
}

fn not_tried(reason: &str) -> Trial {
    Trial::NotTried(reason.to_owned())
}

#[test]
fn only_refusal_of_new_certificate_alone_counts() {
    let client = Client::new();
    let cases = [
        (401, 200, Trial::Accepted),
        (200, 200, Trial::Accepted),
        (200, 401, Trial::Refused("status 401".to_owned())),
        (401, 401, not_tried("it refuses the old certificate too (status 401)")),
        (
            500,
            401,
            not_tried(
                "it answered status 401, and did not answer with the old certificate: it answers \
                 with \
                 status \
                 500",
            ),
        ),
        (200, 403, not_tried("it answers as to an unknown user (status 403)")),
        (200, 503, not_tried("it answers with status 503")),
        (200, 404, not_tried("it answers with status 404")),
    ];
    for (old, new, expected) in cases {
        assert_eq!(client.trial(&client.server(old, new)), expected, "{old} {new}");
    }
}

#[test]
fn forbidden_answer_of_kubelet_is_acceptance() {
    let client = Client::new();
    assert_eq!(run(client.ready(&client.server(200, 403), true)), Trial::Accepted);
    assert_eq!(
        run(client.ready(&client.server(403, 401), true)),
        Trial::Refused("status 401".to_owned())
    );
}

#[test]
fn refusal_in_handshake_counts() {
    for version in VERSIONS {
        let (client, other) = (Client::new(), Authority::new("another"));
        let address =
            answers(server(&client.authority.pair(), version, Some(&client.authority)), |_| 200);
        let Trial::Refused(answer) =
            run(Ready { new: other.pair().identity(), ..client.ready(&address, false) })
        else {
            panic!()
        };
        assert!(answer.starts_with("TLS alert "), "{answer}");
        let ready = Ready {
            new: other.pair().identity(),
            old: other.pair().identity(),
            ..client.ready(&address, false)
        };
        assert_eq!(
            run(ready),
            not_tried(&format!("it refuses the old certificate too ({answer})"))
        );
    }
}

#[test]
fn wrong_server_proves_nothing() {
    let (client, impostor) = (Client::new(), Authority::new("another"));
    let config = server(&impostor.pair(), VERSIONS[1], Some(&client.authority));
    let Trial::NotTried(reason) = client.trial(&answers(config, |_| 401)) else { panic!() };
    assert!(reason.contains("is not accepted"), "{reason}");
}

#[test]
fn hanging_server_is_limited_in_time() {
    let client = Client::new();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Began::now();
    assert_eq!(
        client.trial(&address.to_string()),
        not_tried("the connection was refused: nothing listens there")
    );
    assert!(began.elapsed() < Duration::from_secs(1));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Began::now();
    let asked = (0..5).map(|number| {
        let name = CredentialName::new(format!("client-{number}")).unwrap();
        (name, String::new(), client.ready(&silent.local_addr().unwrap().to_string(), false))
    });
    let answers = ask_all(asked.collect());
    assert!(
        answers.iter().all(|(_, _, trial)| *trial
            == not_tried("a TLS handshake was not established within the time limit")),
        "{answers:?}"
    );
    assert!(began.elapsed() < TRIALS_TIMEOUT, "all at the same time");
}

#[test]
fn server_is_named_by_address() {
    let cases = [
        ("https://10.0.0.1:6443", "https://10.0.0.1:6443"),
        ("https://10.0.0.1:6443/k8s/clusters/c", "https://10.0.0.1:6443"),
        ("https://[fd00::1]:6443/", "https://[fd00::1]:6443"),
        ("/api", ""),
    ];
    for (url, server) in cases {
        assert_eq!(server_of(url), server);
    }
}

/// A node with a pair and a kubeconfig that hold the old certificate. The kubeconfig names that
/// server.
pub struct Node {
    pub dir: tempfile::TempDir,
    pub root: Root,
    pub catalog: Catalog,
}

/// At a server of this node.
fn at(url: String) -> TrialAt {
    TrialAt::Url { url, user: None }
}

pub fn path(path: &str) -> AbsolutePath {
    AbsolutePath::new(path).unwrap()
}

fn credential(name: &str, location: Location) -> Credential {
    let authority = Some(AuthorityName::new("ca").unwrap());
    let name = CredentialName::new(name).unwrap();
    Credential {
        name,
        kubeadm_name: None,
        location,
        authority,
        renewal: crate::model::Renewal::Ours,
        need: Need::Configured,
    }
}

impl Node {
    pub fn new(client: &Client, server: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        write("ca.crt", client.authority.certificate().to_pem());
        write("ca.key", client.authority.key_pem());
        write("one.crt", client.old.certificate.to_pem());
        write("one.key", client.old.key_pem.clone());
        let data = |pem: &str| BASE64_STANDARD.encode(pem);
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: \
             {{cluster: k, user: u}}\n\
             clusters:\n- name: k\n  cluster:\n    certificate-authority: ca.crt\n    server: \
             https://{server}\n\
             users:\n- name: u\n  user:\n    client-certificate-data: {}\n    client-key-data: \
             {}\n",
            data(&client.old.certificate.to_pem()),
            data(&client.old.key_pem),
        );
        write("admin.conf", config);
        let authority = crate::model::Authority {
            name: AuthorityName::new("ca").unwrap(),
            certificate: path("/ca.crt"),
            key: path("/ca.key"),
            other_keys: Vec::new(),
            clients: None,
            clients_may: None,
            root: true,
            key_elsewhere: false,
            need: Need::Configured,
        };
        let pair = Location::Pair { certificate: path("/one.crt"), key: path("/one.key") };
        let credentials = vec![
            credential("one", pair),
            credential("admin.conf", Location::Kubeconfig(path("/admin.conf"))),
        ];
        let (authorities, services, trials, notes) =
            (vec![authority], Vec::new(), BTreeMap::new(), Vec::new());
        let (wanted_names, etcd_members, api_server_address) = (BTreeMap::new(), 0, None);
        let kubeconfigs = std::collections::BTreeMap::new();
        let catalog = Catalog {
            consumers: Vec::new(),
            by_hand: Vec::new(),
            main_containers: BTreeMap::new(),
            serving: BTreeSet::new(),
            authorities,
            credentials,
            services,
            kubeconfigs,
            rotation_off: None,
            trials,
            wanted_names,
            subjects: BTreeMap::new(),
            protected: Vec::new(),
            templates: BTreeMap::new(),
            etcd_members,
            api_server_address,
            api_server_url: None,
            etcd_name: None,
            notes,
        };
        Self { root: Root::open(dir.path()).unwrap(), dir, catalog }
    }

    pub fn facts(&self) -> Vec<CredentialFacts> {
        observe(&ObservedFiles::of(&self.root), &self.catalog, &path("/state")).credentials
    }

    /// Renews both, each tried there.
    pub fn renew(&self, trials: [TrialAt; 2]) -> (Vec<RenewOutcome>, Vec<String>) {
        self.renew_at(Urgency::Comfortable, trials, &[])
    }

    fn renew_at(
        &self,
        urgency: Urgency,
        trials: [TrialAt; 2],
        kubeconfigs: &[(CredentialName, AbsolutePath)],
    ) -> (Vec<RenewOutcome>, Vec<String>) {
        let now = Timestamp::from_seconds(1_800_000_000);
        let terms = Terms {
            not_before: Timestamp::from_seconds(1_000_000_000),
            not_after: now.plus(days(365_000)),
        };
        let job = |(facts, trial)| {
            let authority = self.catalog.authorities[0].clone();
            Job {
                facts,
                authority,
                terms,
                names: crate::model::SanChange::default(),
                urgency,
                trial: Some(trial),
            }
        };
        let jobs: Vec<_> = self.facts().into_iter().zip(trials).map(job).collect();
        let (mut store, _) = Store::open(&self.root, &path("/state"), Duration::ZERO, &[]).unwrap();
        let renewal = Renewal {
            key: KeyChoice::EcdsaP256,
            now,
            backups: 3,
            stop: &AtomicBool::new(false),
            issuer: None,
        };
        renew(&self.root, &mut store, &jobs, kubeconfigs, renewal, &|_, _| {})
    }

    fn is_renewed(&self, number: usize, client: &Client) -> bool {
        self.facts()[number].material.leaf().unwrap().fingerprint
            != client.old.certificate.fingerprint
    }

    pub fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

#[test]
fn refused_credential_stays_and_others_are_renewed() {
    let client = Client::new();
    let (accepts, refuses) = (client.server(200, 200), client.server(200, 401));
    let node = Node::new(&client, &accepts);
    let (outcomes, notes) =
        node.renew([at(format!("https://{refuses}/pods")), TrialAt::Kubeconfig("/api".to_owned())]);
    let error = outcomes[0].1.as_ref().unwrap_err();
    let text = format!(
        "https://{refuses} refused the new certificate (status 401) and accepts the old one, which \
         stays in place"
    );
    assert_eq!(error.to_string(), text);
    assert!(outcomes[1].1.is_ok(), "{outcomes:?}");
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!([0, 1].map(|number| node.is_renewed(number, &client)), [false, true]);
    assert_eq!(
        node.files(),
        ["admin.conf", "ca.crt", "ca.key", "one.crt", "one.key", "state"],
        "nothing stays behind"
    );
}

#[test]
fn server_of_kubeconfig_may_refuse() {
    let client = Client::new();
    let node = Node::new(&client, &client.server(200, 401));
    let (outcomes, _) = node.renew([
        at(format!("https://{}/", client.server(200, 200))),
        TrialAt::Kubeconfig("/api".to_owned()),
    ]);
    assert!(matches!(outcomes[1].1, Err(RenewError::RefusedBy { .. })), "{outcomes:?}");
    assert_eq!([0, 1].map(|number| node.is_renewed(number, &client)), [true, false]);
}

/// Has another CA sign from now on. Returns admin.conf, which embeds the old one, and the text that
/// trusts both.
fn other_issuer(node: &Node, client: &Client) -> (String, String) {
    let (old, other) = (client.authority.certificate().to_pem(), Authority::new("other"));
    let both = other.certificate().to_pem() + &old;
    let file = |name: &str| node.dir.path().join(name);
    std::fs::write(file("ca.crt"), &both).unwrap();
    std::fs::write(file("ca.key"), other.key_pem()).unwrap();
    let text = std::fs::read_to_string(file("admin.conf")).unwrap();
    let trusting = |pem: &str| {
        let data = format!("certificate-authority-data: {}", BASE64_STANDARD.encode(pem));
        text.replace("certificate-authority: ca.crt", &data)
    };
    let before = trusting(&old);
    std::fs::write(file("admin.conf"), &before).unwrap();
    (before, trusting(&both))
}

fn admin_conf() -> [(CredentialName, AbsolutePath); 1] {
    [(CredentialName::constant("admin.conf"), path("/admin.conf"))]
}

/// The others are issued by another CA from now on, which its clients have to trust all the same.
#[test]
fn refused_kubeconfig_trusts_the_new_issuer_of_others() {
    let client = Client::new();
    let node = Node::new(&client, &client.server(200, 200));
    let (_, expected) = other_issuer(&node, &client);
    let trial = TrialAt::Kubeconfig("/api".to_owned());
    let (outcomes, notes) = node.renew_at(Urgency::Urgent, [trial.clone(), trial], &admin_conf());
    assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1].1, Err(RenewError::RefusedBy { .. })), "{outcomes:?}");
    let after = std::fs::read_to_string(node.dir.path().join("admin.conf")).unwrap();
    assert_eq!(after, expected, "{notes:?}");
    let gets = notes.iter().filter(|note| note.starts_with("/admin.conf: gets the CA")).count();
    assert_eq!(gets, 1, "{notes:?}");
}

#[test]
fn kubeconfigs_stay_where_nothing_gets_another_issuer() {
    let client = Client::new();
    let node = Node::new(&client, &client.server(200, 200));
    let (before, _) = other_issuer(&node, &client);
    std::fs::remove_file(node.dir.path().join("one.crt")).unwrap();
    let trial = TrialAt::Kubeconfig("/api".to_owned());
    let (outcomes, notes) = node.renew_at(Urgency::Urgent, [trial.clone(), trial], &admin_conf());
    assert!(outcomes.iter().all(|(_, result)| result.is_err()), "{outcomes:?}");
    let after = std::fs::read_to_string(node.dir.path().join("admin.conf")).unwrap();
    assert_eq!(after, before, "{notes:?}");
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn server_down_prevents_no_renewal_and_is_noted_once() {
    let client = Client::new();
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let node = Node::new(&client, &address);
    let (outcomes, notes) =
        node.renew([at(format!("https://{address}/pods")), TrialAt::Kubeconfig("/api".to_owned())]);
    assert!(outcomes.iter().all(|(_, result)| result.is_ok()), "{outcomes:?}");
    let reason = "the connection was refused: nothing listens there";
    assert_eq!(
        notes,
        [format!("renewed without a trial at https://{address}: one, admin.conf; {reason}")]
    );
}

#[test]
fn unknown_server_prevents_no_renewal_and_is_noted() {
    let client = Client::new();
    let node = Node::new(&client, "");
    let (outcomes, notes) = node
        .renew([TrialAt::Kubeconfig("/api".to_owned()), TrialAt::Kubeconfig("/api".to_owned())]);
    assert!(outcomes.iter().all(|(_, result)| result.is_ok()), "{outcomes:?}");
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().any(|note| {
        note.ends_with("its server: one; it is not in a kubeconfig, so its server is not known")
    }));
}

#[test]
fn missing_old_certificate_skips_trial() {
    let client = Client::new();
    let node = Node::new(&client, "");
    std::fs::write(node.dir.path().join("one.key"), client.new.key_pem.clone()).unwrap();
    assert!(matches!(node.facts()[0].material, Material::Mismatched(..)));
    let refuses = at(format!("https://{}/", client.server(200, 401)));
    let (outcomes, _) = node.renew([refuses.clone(), refuses]);
    assert!(outcomes[0].1.is_ok() && outcomes[1].1.is_err(), "{outcomes:?}");
}

//! Copies of credentials in directories of root and of other users. They are updated under the
//! shipped unit with the drop-in that `config check` prints, and their owners keep working with
//! them.

use kubecertd::model::Digest;

use super::harness::{Node, schedule_in};
use super::sandbox::can_write;

const COPIES: &str = r#"
[[copy]]
of = "admin.conf"
kubeconfig = "/root/.kube/config"
[[copy]]
of = "admin.conf"
kubeconfig = "/home/*/.kube/config"
[[copy]]
name = "etcd-of-site"
of = "apiserver-etcd-client"
certificate = "/srv/etcd-client/client.crt"
key = "/srv/etcd-client/client.key"
[[copy]]
name = "changed"
of = "admin.conf"
kubeconfig = "/srv/site/changed.conf"
"#;

const ALICE: &str = "/home/alice/.kube/config";
const DROP_IN: &str = "etc/systemd/system/kubecertd.service.d/directories.conf";

impl Node {
    /// Runs kubectl as Alice with her own kubeconfig and returns the names of the nodes.
    fn kubectl_as_alice(&self) -> String {
        let kubectl = format!(
            "kubectl --request-timeout=20s --kubeconfig {ALICE} --context here get nodes -o name"
        );
        self.exec(&format!("runuser -u alice -- {kubectl}"))
    }

    /// Reads etcd's health with the copy of the API server's client pair.
    fn etcd_health_with_copy(&self) -> String {
        self.exec(
            "runuser -u etcdsite -- curl --silent --fail --cacert /srv/etcd-client/ca.crt --cert \
             /srv/etcd-client/client.crt \
             --key /srv/etcd-client/client.key https://127.0.0.1:2379/health",
        )
    }

    /// The SHA-256 fingerprint of the certificate of a user in a kubeconfig.
    fn fingerprint(&self, kubeconfig: &str, user: &str) -> String {
        let path = format!("{{.users[?(@.name==\"{user}\")].user.client-certificate-data}}");
        self.exec(&format!(
            "kubectl --kubeconfig {kubeconfig} config view --raw -o jsonpath='{path}' | base64 -d \
             | openssl x509 -noout -fingerprint -sha256"
        ))
    }

    /// Owner, group and mode of a file.
    fn attributes(&self, file: &str) -> String {
        self.exec(&format!("stat -c %U:%G:%a {file}"))
    }
}

fn set_up(node: &Node) {
    node.exec(
        "userdel --remove alice 2>/dev/null || true; userdel etcdsite 2>/dev/null || true
         rm -rf /home/alice /root/.kube /srv/* && useradd --create-home alice && useradd \
         --no-create-home etcdsite",
    );
    node.exec(&format!(
        "install -d -o alice -g alice -m 0700 /home/alice/.kube
         install -o alice -g alice -m 0600 /etc/kubernetes/admin.conf {ALICE}
         as() {{ runuser -u alice -- kubectl --kubeconfig {ALICE} config \"$@\"; }}
         as rename-context kubernetes-admin@kubernetes here
         as set-cluster far --server=https://far.example.com:6443
         as set-credentials me --token=a-token-of-alice
         as set-context elsewhere --cluster=far --user=me
         as use-context elsewhere
         echo '# by hand' >>{ALICE}
         mkdir -m 0700 /root/.kube && cp /etc/kubernetes/admin.conf /root/.kube/config && chmod \
         0640 /root/.kube/config
         mkdir /srv/site && cp /etc/kubernetes/scheduler.conf /srv/site/changed.conf
         install -d -o etcdsite -g etcdsite -m 0700 /srv/etcd-client
         cd /etc/kubernetes/pki
         for kind in crt key; do install -o etcdsite -g etcdsite -m 0400 \
         apiserver-etcd-client.$kind /srv/etcd-client/client.$kind; done
         install -o etcdsite -g etcdsite -m 0400 etcd/ca.crt /srv/etcd-client/"
    ));
}

/// Returns the lines of Alice's kubeconfig without the two values.
fn other_lines(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| {
            !line.contains("client-certificate-data:") && !line.contains("client-key-data:")
        })
        .collect()
}

pub fn copies_of_any_owner(node: &mut Node) {
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    for name in ["admin.conf", "apiserver-etcd-client"] {
        node.age(name, 10);
    }
    set_up(node);
    let files =
        [ALICE, "/root/.kube/config", "/srv/etcd-client/client.crt", "/srv/etcd-client/client.key"];
    let attributes = files.map(|file| node.attributes(file));
    assert_eq!(attributes[0].trim(), "alice:alice:600");
    let before = node.text(&ALICE[1..]);
    assert!(node.kubectl_as_alice().contains(node.name()));
    assert!(node.etcd_health_with_copy().contains("true"));
    let changed = Digest::of(&node.read("srv/site/changed.conf"));
    node.write("etc/kubecertd/kubecertd.toml", format!("{}{COPIES}", schedule_in(12 * 3_600)));

    // Without the drop-in the originals are renewed. The copies can't be written, which is
    // reported.
    node.exec("systemctl start kubecertd");
    node.wait_for("it has started", |node| {
        node.status().filter(|status| status.line != super::harness::PASS_IN_PROGRESS)
    });
    let pass = node.request_pass();
    assert!(
        ["admin.conf", "apiserver-etcd-client"]
            .iter()
            .all(|name| !format!("{:?}", pass.failed).contains(&format!("\"{name}\""))),
        "{pass:?}"
    );
    assert!(pass.copied.is_empty(), "{pass:?}");
    assert!(
        pass.failed.iter().any(|(name, why)| name.as_str() == "home/alice/.kube/config"
            && why.contains("Read-only file system")),
        "{pass:?}"
    );
    assert!(node.exec("kubecertd alarms || true").contains("does not follow admin.conf"));
    assert_eq!(node.text(&ALICE[1..]), before);

    let output = node.exec("kubecertd config check");
    let drop_in = &output[output.find("[Service]").unwrap()..];
    assert_eq!(
        drop_in,
        "[Service]\nProtectHome=no\nReadOnlyPaths=-/root\nReadOnlyPaths=-/run/user\n\
         ReadWritePaths=-/home\nReadWritePaths=-/root/.kube\nReadWritePaths=-/srv/etcd-client\n\
         ReadWritePaths=-/srv/site\n"
    );
    node.exec("mkdir -p /etc/systemd/system/kubecertd.service.d");
    node.write(DROP_IN, drop_in);
    node.exec("systemctl daemon-reload && systemctl restart kubecertd");
    assert!(
        !node.exec("kubecertd config check").contains("ReadWritePaths"),
        "the drop-in is in force"
    );
    for (dir, open) in
        [("/home", true), ("/root/.kube", true), ("/root", false), ("/srv", false), ("/etc", false)]
    {
        assert_eq!(can_write(node, dir), open, "{dir}");
    }
    node.wait_for("it has started", |node| {
        node.status().filter(|status| status.line != super::harness::PASS_IN_PROGRESS)
    });
    let up_to_date = |node: &Node| {
        let check = node.exec("kubecertd check || true");
        let line = |name: &str| {
            check
                .lines()
                .find(|line| line.starts_with(name))
                .is_some_and(|line| line.contains("in step"))
        };
        ["home/alice/", "root/.kube/", "etcd-of-site"].iter().all(|name| line(name)).then_some(())
    };
    if up_to_date(node).is_none() {
        let pass = node.request_pass();
        assert!(pass.copied.len() == 3 && pass.failed.is_empty(), "{pass:?}");
    }
    node.wait_for("the copies are up to date", up_to_date);

    let new = node.fingerprint("/etc/kubernetes/admin.conf", "kubernetes-admin");
    assert_eq!(
        [
            node.fingerprint(ALICE, "kubernetes-admin"),
            node.fingerprint("/root/.kube/config", "kubernetes-admin")
        ],
        [new.clone(), new]
    );
    assert!(node.kubectl_as_alice().contains(node.name()), "with the new certificate");
    assert!(node.etcd_health_with_copy().contains("true"));
    assert_eq!(
        node.exec(
            "cmp /srv/etcd-client/client.crt \
        /etc/kubernetes/pki/apiserver-etcd-client.crt && echo same"
        )
        .trim(),
        "same"
    );
    assert_eq!(files.map(|file| node.attributes(file)), attributes);
    let after = node.text(&ALICE[1..]);
    assert!(
        after != before && other_lines(&after) == other_lines(&before),
        "only two values differ"
    );
    assert!(after.contains("a-token-of-alice") && after.ends_with("# by hand\n"));

    // A copy that another user changed is reported and not written.
    assert_eq!(Digest::of(&node.read("srv/site/changed.conf")), changed);
    let check = node.exec("kubecertd check || true");
    assert!(
        check.contains(
            "changed: /srv/site/changed.conf: holds no certificate that its \
        original is known to have held"
        ),
        "{check}"
    );
    let alarms = node.exec("kubecertd alarms || true");
    assert!(
        alarms.contains("/srv/site/changed.conf does not follow admin.conf")
            && !alarms.contains("/home/alice"),
        "{alarms}"
    );
    let journal = node.journal("kubecertd");
    assert!(journal.contains("alarm copy-not-updated (copy=changed), minor, raised"), "{journal}");
    for secret in ["a-token-of-alice", "far.example.com"] {
        assert!(!journal.contains(secret), "{journal}");
    }

    // The copies are updated after a renewal by kubeadm too.
    node.exec("kubeadm certs renew admin.conf 2>&1 || kubeadm alpha certs renew admin.conf 2>&1");
    assert!(
        node.exec("kubecertd check || true")
            .lines()
            .any(|line| line.starts_with("home/alice/") && line.contains("behind"))
    );
    node.request_pass();
    node.wait_for("the copies are up to date", up_to_date);
    assert!(node.kubectl_as_alice().contains(node.name()), "with kubeadm's");
    node.exec(
        "systemctl stop kubecertd; userdel --remove alice; userdel etcdsite; rm -rf \
        /root/.kube /srv/*",
    );
}

//! Checks of a node's certificates by other programs: openssl for served certificates; kubectl,
//! curl and etcdctl for accepted ones.

use super::external_ca::authority_of;
use super::harness::Node;

/// A kubeconfig, and an action that only its user and the administrators may do. Not every version
/// of Kubernetes has each.
const KUBECONFIGS: [(&str, &str); 4] = [
    ("admin.conf", "create clusterroles.rbac.authorization.k8s.io"),
    ("super-admin.conf", "create clusterroles.rbac.authorization.k8s.io"),
    ("controller-manager.conf", "create serviceaccounts --subresource token"),
    ("scheduler.conf", "create pods --subresource binding"),
];

impl Node {
    /// The serial number, in hex, of the certificate that a service serves.
    pub fn serving(&self, service: &str) -> Option<String> {
        let address = match service {
            "etcd" => "127.0.0.1:2379",
            "etcd's peers" => "$(hostname --ip-address):2380",
            "kube-apiserver" => "127.0.0.1:6443",
            "kube-controller-manager" => "127.0.0.1:10257",
            "kube-scheduler" => "127.0.0.1:10259",
            "kubelet" => "127.0.0.1:10250",
            _ => panic!("no service {service}"),
        };
        let shown = self.try_exec(&format!(
            "openssl s_client -connect {address} </dev/null \
            2>/dev/null | openssl x509 -noout -serial"
        ));
        let serial = String::from_utf8(shown.stdout).unwrap();
        serial.trim().strip_prefix("serial=").map(|serial| serial.to_ascii_lowercase())
    }

    /// The serial number of a credential on the disk, in the form of [`Self::serving`].
    pub fn serial(&self, name: &str) -> String {
        let bytes = self.certificate(name).serial.to_string();
        bytes.replace(':', "").to_ascii_lowercase()
    }

    /// Waits until a service serves the credential that is on the disk.
    pub fn wait_until_serving(&self, service: &str, credential: &str) {
        let serial = self.serial(credential);
        self.wait_for(&format!("{service} serves {credential} {serial}"), |node| {
            (node.serving(service)? == serial).then_some(())
        });
    }

    /// Asserts that each client certificate on the disk is accepted by its server.
    pub fn assert_accepted(&self) {
        let all = self.all_credentials();
        for (kubeconfig, action) in
            KUBECONFIGS.iter().filter(|(name, _)| all.iter().any(|one| one == name))
        {
            let answer = self.exec(&format!(
                "kubectl --kubeconfig /etc/kubernetes/{kubeconfig} auth can-i {action}"
            ));
            assert_eq!(answer.trim(), "yes", "{kubeconfig}");
        }
        // The API server's client certificate for kubelet, and that of an extension API server
        // with an impersonated user.
        let client = |pair: &str| {
            format!(
                "curl --fail --silent --show-error --cert /etc/kubernetes/pki/{pair}.crt --key \
                 /etc/kubernetes/pki/{pair}.key"
            )
        };
        self.exec(&format!(
            "{} --insecure https://127.0.0.1:10250/pods | grep -q kube-apiserver",
            client("apiserver-kubelet-client")
        ));
        let ca = "--cacert /etc/kubernetes/pki/ca.crt";
        let name = self.name();
        let impersonation =
            "--header 'X-Remote-User: example' --header 'X-Remote-Group: system:masters'";
        self.exec(&format!(
            "{} {ca} {impersonation} https://{name}:6443/api/v1/nodes | grep -q {name}",
            client("front-proxy-client"),
        ));
        // etcd, with each of its client certificates. This verifies etcd's own certificate too.
        for pair in ["apiserver-etcd-client", "etcd/healthcheck-client", "etcd/server", "etcd/peer"]
        {
            let files = format!(
                "--cert /etc/kubernetes/pki/{pair}.crt --key /etc/kubernetes/pki/{pair}.key \
                 --cacert /etc/kubernetes/pki/etcd/ca.crt"
            );
            self.exec(&format!(
                "ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 {files} endpoint health"
            ));
        }
    }

    /// Asserts by openssl that each certificate verifies and matches its key.
    pub fn assert_whole(&self) {
        let names: Vec<String> = self.usable_credentials().into_keys().collect();
        let all = self.all_credentials();
        assert_eq!(names, all);
        let verify = "verify() { openssl verify -x509_strict -CAfile $1 $2 && \
             [ \"$(openssl x509 -in $2 -noout -pubkey)\" = \"$(openssl pkey -in $3 -pubout)\" ]; }";
        for name in all {
            let authority = authority_of(&name);
            self.exec(&format!(
                "set -e; cd /etc/kubernetes/pki; {verify}
                 case {name} in
                 *.conf)
                   for kind in certificate key; do
                     kubectl config view --raw --kubeconfig ../{name} -o \
                     jsonpath=\"{{.users[0].user.client-$kind-data}}\" | base64 -d >/run/user.$kind
                   done
                   verify {authority}.crt /run/user.certificate /run/user.key
                   rm /run/user.* ;;
                 *) verify {authority}.crt {name}.crt {name}.key ;;
                 esac"
            ));
        }
        assert_eq!(self.exec("find /etc/kubernetes -name '.*'"), "", "no temporary file is left");
    }
}

//! The manifests of the static pods, with the flags and mounts that kubeadm 1.36 gives them.

/// A static pod.
struct Pod {
    name: &'static str,
    /// The name and value of kubeadm's annotation of the address.
    annotation: Option<(&'static str, &'static str)>,
    flags: &'static [&'static str],
    image: &'static str,
    requests: &'static [(&'static str, &'static str)],
    probes: Probes,
    mounts: &'static [Mount],
}

/// Where kubelet checks the health of a pod. The path of the readiness probe is missing where there
/// is none.
struct Probes {
    scheme: &'static str,
    host: &'static str,
    port: u16,
    liveness: &'static str,
    readiness: Option<&'static str>,
    startup: &'static str,
}

/// A path of the node that a pod sees at the same path.
#[derive(Clone, Copy)]
struct Mount {
    name: &'static str,
    path: &'static str,
    kind: &'static str,
    read_only: bool,
}

/// Returns the manifests, each with the name of its pod.
pub(super) fn all() -> impl Iterator<Item = (&'static str, String)> {
    [&ETCD, &API_SERVER, &CONTROLLER_MANAGER, &SCHEDULER]
        .into_iter()
        .map(|pod| (pod.name, pod.manifest()))
}

impl Pod {
    fn manifest(&self) -> String {
        let Self { name, image, .. } = self;
        let annotations = self.annotation.map(|(key, value)| {
            format!("  annotations:\n    kubeadm.kubernetes.io/{key}: {value}\n")
        });
        let annotations = annotations.unwrap_or_default();
        let flags: String = self.flags.iter().map(|flag| format!("    - --{flag}\n")).collect();
        let requests: String =
            self.requests.iter().map(|(what, much)| format!("        {what}: {much}\n")).collect();
        let mounts: String = self.mounts.iter().map(Mount::in_container).collect();
        // kubeadm orders the volumes by name, but not the mounts.
        let mut by_name = self.mounts.to_vec();
        by_name.sort_by_key(|mount| mount.name);
        let volumes: String = by_name.iter().map(Mount::in_pod).collect();
        let port = self.probes.port;
        let liveness = self.probes.probe("livenessProbe", self.probes.liveness, 8, 10, true);
        let readiness = self
            .probes
            .readiness
            .map(|path| self.probes.probe("readinessProbe", path, 3, 1, false))
            .unwrap_or_default();
        let startup = self.probes.probe("startupProbe", self.probes.startup, 24, 10, true);
        format!(
            "\
apiVersion: v1
kind: Pod
metadata:
{annotations}  labels:
    component: {name}
    tier: control-plane
  name: {name}
  namespace: kube-system
spec:
  containers:
  - command:
    - {name}
{flags}    image: registry.k8s.io/{image}
    imagePullPolicy: IfNotPresent
{liveness}    name: {name}
    ports:
    - containerPort: {port}
      name: probe-port
      protocol: TCP
{readiness}    resources:
      requests:
{requests}{startup}    volumeMounts:
{mounts}  hostNetwork: true
  priority: 2000001000
  priorityClassName: system-node-critical
  securityContext:
    seccompProfile:
      type: RuntimeDefault
  volumes:
{volumes}status: {{}}
"
        )
    }
}

impl Probes {
    fn probe(&self, name: &str, path: &str, failures: u8, period: u8, delayed: bool) -> String {
        let Self { scheme, host, .. } = self;
        let delay = if delayed { "      initialDelaySeconds: 10\n" } else { "" };
        format!(
            "    {name}:
      failureThreshold: {failures}
      httpGet:
        host: {host}
        path: {path}
        port: probe-port
        scheme: {scheme}
{delay}      periodSeconds: {period}
      timeoutSeconds: 15
"
        )
    }
}

impl Mount {
    const fn dir(name: &'static str, path: &'static str) -> Self {
        Self { name, path, kind: "DirectoryOrCreate", read_only: true }
    }

    const fn kubeconfig(path: &'static str) -> Self {
        Self { name: "kubeconfig", path, kind: "FileOrCreate", read_only: true }
    }

    const fn writable(self) -> Self {
        Self { read_only: false, ..self }
    }

    fn in_container(&self) -> String {
        let Self { name, path, .. } = self;
        let read_only = if self.read_only { "      readOnly: true\n" } else { "" };
        format!("    - mountPath: {path}\n      name: {name}\n{read_only}")
    }

    fn in_pod(&self) -> String {
        let Self { name, path, kind, .. } = self;
        format!("  - hostPath:\n      path: {path}\n      type: {kind}\n    name: {name}\n")
    }
}

const SYSTEM_CERTIFICATES: Mount = Mount::dir("ca-certs", "/etc/ssl/certs");
const ETC_CERTIFICATES: Mount = Mount::dir("etc-ca-certificates", "/etc/ca-certificates");
const PKI: Mount = Mount::dir("k8s-certs", "/etc/kubernetes/pki");
const LOCAL_CERTIFICATES: Mount =
    Mount::dir("usr-local-share-ca-certificates", "/usr/local/share/ca-certificates");
const SHARED_CERTIFICATES: Mount =
    Mount::dir("usr-share-ca-certificates", "/usr/share/ca-certificates");

const ETCD: Pod = Pod {
    name: "etcd",
    annotation: Some(("etcd.advertise-client-urls", "https://10.200.0.1:2379")),
    flags: &[
        "advertise-client-urls=https://10.200.0.1:2379",
        "cert-file=/etc/kubernetes/pki/etcd/server.crt",
        "client-cert-auth=true",
        "data-dir=/var/lib/etcd",
        "feature-gates=InitialCorruptCheck=true",
        "initial-advertise-peer-urls=https://10.200.0.1:2380",
        "initial-cluster=cp1=https://10.200.0.1:2380",
        "key-file=/etc/kubernetes/pki/etcd/server.key",
        "listen-client-urls=https://127.0.0.1:2379,https://10.200.0.1:2379",
        "listen-metrics-urls=http://127.0.0.1:2381",
        "listen-peer-urls=https://10.200.0.1:2380",
        "name=cp1",
        "peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt",
        "peer-client-cert-auth=true",
        "peer-key-file=/etc/kubernetes/pki/etcd/peer.key",
        "peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
        "snapshot-count=10000",
        "trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
        "watch-progress-notify-interval=5s",
    ],
    image: "etcd:3.6.8-0",
    requests: &[("cpu", "100m"), ("memory", "100Mi")],
    probes: Probes {
        scheme: "HTTP",
        host: "127.0.0.1",
        port: 2381,
        liveness: "/livez",
        readiness: Some("/readyz"),
        startup: "/readyz",
    },
    mounts: &[
        Mount::dir("etcd-data", "/var/lib/etcd").writable(),
        Mount::dir("etcd-certs", "/etc/kubernetes/pki/etcd").writable(),
    ],
};

const API_SERVER: Pod = Pod {
    name: "kube-apiserver",
    annotation: Some(("kube-apiserver.advertise-address.endpoint", "10.200.0.1:6443")),
    flags: &[
        "advertise-address=10.200.0.1",
        "allow-privileged=true",
        "authorization-mode=Node,RBAC",
        "client-ca-file=/etc/kubernetes/pki/ca.crt",
        "enable-admission-plugins=NodeRestriction",
        "enable-bootstrap-token-auth=true",
        "etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
        "etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt",
        "etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key",
        "etcd-servers=https://127.0.0.1:2379",
        "kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt",
        "kubelet-client-key=/etc/kubernetes/pki/apiserver-kubelet-client.key",
        "kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
        "proxy-client-cert-file=/etc/kubernetes/pki/front-proxy-client.crt",
        "proxy-client-key-file=/etc/kubernetes/pki/front-proxy-client.key",
        "requestheader-allowed-names=front-proxy-client",
        "requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
        "requestheader-extra-headers-prefix=X-Remote-Extra-",
        "requestheader-group-headers=X-Remote-Group",
        "requestheader-username-headers=X-Remote-User",
        "secure-port=6443",
        "service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "service-account-key-file=/etc/kubernetes/pki/sa.pub",
        "service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
        "service-cluster-ip-range=10.96.0.0/12",
        "tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
        "tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
    ],
    image: "kube-apiserver:v1.36.2",
    requests: &[("cpu", "250m")],
    probes: Probes {
        scheme: "HTTPS",
        host: "10.200.0.1",
        port: 6443,
        liveness: "/livez",
        readiness: Some("/readyz"),
        startup: "/livez",
    },
    mounts: &[SYSTEM_CERTIFICATES, ETC_CERTIFICATES, PKI, LOCAL_CERTIFICATES, SHARED_CERTIFICATES],
};

const CONTROLLER_MANAGER: Pod = Pod {
    name: "kube-controller-manager",
    annotation: None,
    flags: &[
        "authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
        "authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
        "bind-address=127.0.0.1",
        "client-ca-file=/etc/kubernetes/pki/ca.crt",
        "cluster-name=kubernetes",
        "cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
        "cluster-signing-key-file=/etc/kubernetes/pki/ca.key",
        "controllers=*,bootstrapsigner,tokencleaner",
        "kubeconfig=/etc/kubernetes/controller-manager.conf",
        "leader-elect=true",
        "requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
        "root-ca-file=/etc/kubernetes/pki/ca.crt",
        "service-account-private-key-file=/etc/kubernetes/pki/sa.key",
        "use-service-account-credentials=true",
    ],
    image: "kube-controller-manager:v1.36.2",
    requests: &[("cpu", "200m")],
    probes: Probes {
        scheme: "HTTPS",
        host: "127.0.0.1",
        port: 10_257,
        liveness: "/healthz",
        readiness: None,
        startup: "/healthz",
    },
    mounts: &[
        SYSTEM_CERTIFICATES,
        ETC_CERTIFICATES,
        PKI,
        Mount::kubeconfig("/etc/kubernetes/controller-manager.conf"),
        LOCAL_CERTIFICATES,
        SHARED_CERTIFICATES,
    ],
};

const SCHEDULER: Pod = Pod {
    name: "kube-scheduler",
    annotation: None,
    flags: &[
        "authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
        "authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
        "bind-address=127.0.0.1",
        "kubeconfig=/etc/kubernetes/scheduler.conf",
        "leader-elect=true",
    ],
    image: "kube-scheduler:v1.36.2",
    requests: &[("cpu", "100m")],
    probes: Probes {
        scheme: "HTTPS",
        host: "127.0.0.1",
        port: 10_259,
        liveness: "/livez",
        readiness: Some("/readyz"),
        startup: "/livez",
    },
    mounts: &[Mount::kubeconfig("/etc/kubernetes/scheduler.conf")],
};

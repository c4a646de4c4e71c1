//! kubelet's own client certificate, as kubelet and kubeadm store it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use kubecertd::formats::x509::{
    Certificate, KeyAlgorithm, PrivateKey, certificates, kubelet_template, reissue, template,
};
use kubecertd::model::{AbsolutePath, Credential, Location, Subject, Usage};

use super::{CA_CRT, CA_KEY, ECDSA, Node, PKI, terms_with_days_left};

/// The directory of kubelet's certificates.
pub const PKI_DIR: &str = "var/lib/kubelet/pki";
/// The link to the certificate in use.
pub const CURRENT: &str = "var/lib/kubelet/pki/kubelet-client-current.pem";
/// The kubeconfig of kubelet.
pub const CONF: &str = "etc/kubernetes/kubelet.conf";
/// The name of the node in the fixtures.
pub const NODE_NAME: &str = "cp1";

/// kubelet's configuration as kubeadm join writes it, as far as it is about certificates.
const KUBELET_CONFIG: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
kind: KubeletConfiguration
rotateCertificates: true
staticPodPath: /etc/kubernetes/manifests
";

/// kubelet's unit and kubeadm's drop-in for it, in one file.
const KUBELET_UNIT: &str = "[Service]
Environment=\"KUBELET_KUBECONFIG_ARGS=\
    --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
    --kubeconfig=/etc/kubernetes/kubelet.conf\"
Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
";

impl Node {
    /// Makes a worker node as kubeadm join leaves it, in the cluster of the fixture. `days_left` is
    /// that of kubelet's client certificate.
    pub fn worker(tree: &str, name: &str, days_left: i64) -> Self {
        let cluster = Self::fresh(tree);
        let node = Self::empty();
        node.write(CA_CRT, cluster.read(CA_CRT));
        node.add_kubelet_pem(cluster.kubelet_pem_for(name, days_left));
        node.write(CONF, cluster.text(CONF).replace("system:node:cp1", "default-auth"));
        node.link_kubelet_conf();
        fs::create_dir(node.path("etc/kubernetes/manifests")).unwrap();
        node.write("var/lib/kubelet/config.yaml", KUBELET_CONFIG);
        node.write("var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--v=2\"\n");
        node.write("usr/lib/systemd/system/kubelet.service", KUBELET_UNIT);
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(node.path(CONF), private).unwrap();
        node
    }

    /// Adds a pair such as kubelet makes itself.
    pub fn add_kubelet_serving(&self) {
        // As kubelet names it: by the second of its making.
        let common_name = "w1@1795219200".to_owned();
        let subject = Subject { common_name, organization: None };
        let template = template(&subject, &[Usage::Server], &[]).unwrap();
        let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
        let terms = terms_with_days_left(300);
        let issuer = certificates(&Self::fresh(ECDSA).read(CA_CRT)).unwrap().remove(0);
        let issuer_key = PrivateKey::from_pem(&Self::fresh(ECDSA).read(CA_KEY)).unwrap();
        let der = reissue(&template, &issuer, &issuer_key, &key, &terms).unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        self.write(&format!("{PKI_DIR}/kubelet.crt"), certificate.to_pem());
        self.write(&format!("{PKI_DIR}/kubelet.key"), key.to_pem().unwrap().expose());
    }

    /// Writes a PEM file as kubelet receives it from the cluster, with `days_left` days left, and
    /// the link to it. kubelet.conf is not changed.
    pub fn add_kubelet_certificate(&self, days_left: i64) {
        self.add_kubelet_pem(self.kubelet_pem(days_left));
    }

    /// Gives kubelet of a worker of this cluster another certificate and key, with `days_left` days
    /// left. This node has the key of the CA.
    pub fn age_kubelet_of(&self, worker: &Self, name: &str, days_left: i64) {
        worker.add_kubelet_pem(self.kubelet_pem_for(name, days_left));
    }

    fn add_kubelet_pem(&self, content: String) {
        let pem = format!("{PKI_DIR}/kubelet-client-2025-10-01-12-00-00.pem");
        self.write(&pem, content);
        fs::set_permissions(self.path(&pem), fs::Permissions::from_mode(0o600)).unwrap();
        let _ = fs::remove_file(self.path(CURRENT));
        symlink(format!("/{pem}"), self.path(CURRENT)).unwrap();
    }

    /// Returns a certificate and key of kubelet, signed by the cluster's CA.
    pub fn kubelet_pem(&self, days_left: i64) -> String {
        self.kubelet_pem_for(NODE_NAME, days_left)
    }

    fn kubelet_pem_for(&self, node: &str, days_left: i64) -> String {
        let issuer = certificates(&self.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0);
        let issuer_key = PrivateKey::from_pem(&self.read(&format!("{PKI}/ca.key"))).unwrap();
        let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
        let der = reissue(
            &kubelet_template(node).unwrap(),
            &issuer,
            &issuer_key,
            &key,
            &terms_with_days_left(days_left),
        )
        .unwrap();
        let key = String::from_utf8(key.to_pem().unwrap().expose().to_vec()).unwrap();
        Certificate::from_der(&der).unwrap().to_pem() + &key
    }

    /// Changes kubelet.conf to refer to the link, as kubelet does after its first certificate from
    /// the cluster.
    pub fn link_kubelet_conf(&self) {
        let conf = self.text(CONF);
        let lines = conf.lines().map(|line| match line.trim_start().split_once(':') {
            Some(("client-certificate-data", _)) => format!("    client-certificate: /{CURRENT}\n"),
            Some(("client-key-data", _)) => format!("    client-key: /{CURRENT}\n"),
            _ => format!("{line}\n"),
        });
        self.write(CONF, lines.collect::<String>());
    }

    /// Returns the target of the link.
    pub fn kubelet_link(&self) -> PathBuf {
        fs::read_link(self.path(CURRENT)).unwrap()
    }

    /// Returns the certificate that kubelet uses, and checks that its key fits.
    pub fn kubelet_certificate(&self) -> Certificate {
        let link = self.kubelet_link();
        let pem = self.read(link.strip_prefix("/").unwrap().to_str().unwrap());
        let certificate = certificates(&pem).unwrap().remove(0);
        assert!(PrivateKey::from_pem(&pem).unwrap().fits(&certificate), "{}", link.display());
        certificate
    }

    /// Returns the names of all files in kubelet's directory.
    pub fn kubelet_files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(PKI_DIR))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Embeds a certificate with `days_left` days left in kubelet.conf.
    pub fn embed_kubelet_certificate(&self, days_left: i64) {
        let node = self.observe();
        let usual =
            node.catalog.credentials.iter().find(|one| one.name.as_str() == "admin.conf").unwrap();
        let location = Location::Kubeconfig(AbsolutePath::new(format!("/{CONF}")).unwrap());
        let entry = Credential { location, ..usual.clone() };
        let issuer = certificates(&self.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0);
        let issuer_key = PrivateKey::from_pem(&self.read(&format!("{PKI}/ca.key"))).unwrap();
        self.replace(&entry, &issuer, &issuer_key, &terms_with_days_left(days_left));
    }

    /// Dates kubelet's files back, so that none looks as if it were being written.
    pub fn backdate_kubelet_files(&self) {
        let minute = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        let files = fs::read_dir(self.path(PKI_DIR)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| fs::symlink_metadata(path).unwrap().is_file()) {
            fs::File::options().append(true).open(file).unwrap().set_modified(minute).unwrap();
        }
        self.backdate_dir(PKI_DIR);
    }
}

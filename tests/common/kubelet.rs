//! kubelet's own client certificate, as kubelet and kubeadm lay it down.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use kubecertd::formats::x509::{
    Certificate, KeyAlgorithm, PrivateKey, certificates, kubelet_template, reissue,
};
use kubecertd::model::{AbsolutePath, Credential, Location};

use super::{Node, PKI, ending_in};

/// The folder of kubelet's certificates.
pub const FOLDER: &str = "var/lib/kubelet/pki";
/// The link to the one that it uses.
pub const CURRENT: &str = "var/lib/kubelet/pki/kubelet-client-current.pem";
/// Where it finds that.
pub const CONF: &str = "etc/kubernetes/kubelet.conf";
/// The name of the node in the fixtures.
pub const NODE: &str = "cp1";

impl Node {
    /// A pem that kubelet had from the cluster, with so many days left, and the link to it;
    /// kubelet.conf stays as it is.
    pub fn give_kubelet(&self, days_left: i64) {
        let pem = format!("{FOLDER}/kubelet-client-2025-10-01-12-00-00.pem");
        self.write(&pem, self.kubelet_pem(days_left));
        fs::set_permissions(self.path(&pem), fs::Permissions::from_mode(0o600)).unwrap();
        let _ = fs::remove_file(self.path(CURRENT));
        symlink(format!("/{pem}"), self.path(CURRENT)).unwrap();
    }

    /// Certificate and key of kubelet, signed by the cluster's authority.
    pub fn kubelet_pem(&self, days_left: i64) -> String {
        let issuer = certificates(&self.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0);
        let issuer_key = PrivateKey::from_pem(&self.read(&format!("{PKI}/ca.key"))).unwrap();
        let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
        let der = reissue(
            &kubelet_template(NODE).unwrap(),
            &issuer,
            &issuer_key,
            &key,
            &ending_in(days_left),
        )
        .unwrap();
        let key = String::from_utf8(key.to_pem().unwrap().expose().to_vec()).unwrap();
        Certificate::from_der(&der).unwrap().to_pem() + &key
    }

    /// kubelet.conf as it is once kubelet has had a certificate from the cluster.
    pub fn point_kubelet(&self) {
        let conf = self.text(CONF);
        let lines = conf.lines().map(|line| match line.trim_start().split_once(':') {
            Some(("client-certificate-data", _)) => format!("    client-certificate: /{CURRENT}\n"),
            Some(("client-key-data", _)) => format!("    client-key: /{CURRENT}\n"),
            _ => format!("{line}\n"),
        });
        self.write(CONF, lines.collect::<String>());
    }

    /// Where the link leads.
    pub fn kubelet_link(&self) -> PathBuf {
        fs::read_link(self.path(CURRENT)).unwrap()
    }

    /// What kubelet would work with: the certificate, whose key is beside it.
    pub fn kubelet_certificate(&self) -> Certificate {
        let link = self.kubelet_link();
        let pem = self.read(link.strip_prefix("/").unwrap().to_str().unwrap());
        let certificate = certificates(&pem).unwrap().remove(0);
        assert!(PrivateKey::from_pem(&pem).unwrap().fits(&certificate), "{}", link.display());
        certificate
    }

    /// The names of all files in kubelet's folder.
    pub fn kubelet_files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Has kubelet.conf embed its certificate, with so many days left.
    pub fn embed_in_kubelet_conf(&self, days_left: i64) {
        let node = self.observed();
        let usual =
            node.catalog.credentials.iter().find(|one| one.name.as_str() == "admin.conf").unwrap();
        let location = Location::Kubeconfig(AbsolutePath::new(format!("/{CONF}")).unwrap());
        let entry = Credential { location, ..usual.clone() };
        let issuer = certificates(&self.read(&format!("{PKI}/ca.crt"))).unwrap().remove(0);
        let issuer_key = PrivateKey::from_pem(&self.read(&format!("{PKI}/ca.key"))).unwrap();
        self.replace(&entry, &issuer, &issuer_key, &ending_in(days_left));
    }

    /// Makes kubelet's files look as if nobody were writing them just now.
    pub fn rest_kubelet(&self) {
        let minute = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        let files = fs::read_dir(self.path(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| fs::symlink_metadata(path).unwrap().is_file()) {
            fs::File::options().append(true).open(file).unwrap().set_modified(minute).unwrap();
        }
    }
}

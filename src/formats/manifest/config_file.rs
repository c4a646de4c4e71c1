//! Configuration files of components that say what flags say otherwise.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::DuplicateKeyPolicy;

/// How a component is configured besides by flags.
#[derive(Debug)]
pub(super) struct Configuration {
    /// What the names of variables that stand for flags begin with.
    pub variables: Option<&'static str>,
    /// The flag that names the configuration file.
    pub flag: &'static str,
    /// Whether flags and variables are ignored where there is a file.
    pub alone: bool,
    read: fn(&str) -> Result<Values, String>,
}

/// The values of a file, by the flag that each stands for: the key in the file, and the value.
pub(super) type Values = BTreeMap<&'static str, (&'static str, String)>;

/// etcd takes flags over variables, and with a file neither.
const ETCD: Configuration =
    Configuration { variables: Some("ETCD_"), flag: "config-file", alone: true, read: etcd };

/// The kubeconfig in the file is used instead of the one that the flag names.
const SCHEDULER: Configuration =
    Configuration { variables: None, flag: "config", alone: false, read: scheduler };

impl Configuration {
    pub fn of(component: &str) -> Option<&'static Self> {
        match component {
            "etcd" => Some(&ETCD),
            "kube-scheduler" => Some(&SCHEDULER),
            _ => None,
        }
    }

    /// Reads the text of the file.
    pub fn read(&self, text: &str) -> Result<Values, String> {
        (self.read)(text)
    }

    /// The variable that stands for a flag.
    pub fn variable(&self, flag: &str) -> Option<String> {
        let name = flag.replace('-', "_").to_ascii_uppercase();
        Some(format!("{}{name}", self.variables?))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct EtcdFile {
    listen_client_urls: Option<String>,
    advertise_client_urls: Option<String>,
    listen_peer_urls: Option<String>,
    initial_advertise_peer_urls: Option<String>,
    initial_cluster: Option<String>,
    client_transport_security: Option<TransportSecurity>,
    peer_transport_security: Option<TransportSecurity>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct TransportSecurity {
    cert_file: Option<String>,
    key_file: Option<String>,
    trusted_ca_file: Option<String>,
}

fn etcd(text: &str) -> Result<Values, String> {
    let file: EtcdFile = parse(text)?;
    let client = file.client_transport_security.unwrap_or_default();
    let peer = file.peer_transport_security.unwrap_or_default();
    Ok(values([
        ("listen-client-urls", "listen-client-urls", file.listen_client_urls),
        ("advertise-client-urls", "advertise-client-urls", file.advertise_client_urls),
        ("listen-peer-urls", "listen-peer-urls", file.listen_peer_urls),
        (
            "initial-advertise-peer-urls",
            "initial-advertise-peer-urls",
            file.initial_advertise_peer_urls,
        ),
        ("initial-cluster", "initial-cluster", file.initial_cluster),
        ("cert-file", "client-transport-security.cert-file", client.cert_file),
        ("key-file", "client-transport-security.key-file", client.key_file),
        ("trusted-ca-file", "client-transport-security.trusted-ca-file", client.trusted_ca_file),
        ("peer-cert-file", "peer-transport-security.cert-file", peer.cert_file),
        ("peer-key-file", "peer-transport-security.key-file", peer.key_file),
        ("peer-trusted-ca-file", "peer-transport-security.trusted-ca-file", peer.trusted_ca_file),
    ]))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SchedulerFile {
    client_connection: Option<ClientConnection>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClientConnection {
    kubeconfig: Option<String>,
}

fn scheduler(text: &str) -> Result<Values, String> {
    let file: SchedulerFile = parse(text)?;
    let kubeconfig = file.client_connection.and_then(|connection| connection.kubeconfig);
    Ok(values([("kubeconfig", "clientConnection.kubeconfig", kubeconfig)]))
}

fn values<const N: usize>(all: [(&'static str, &'static str, Option<String>); N]) -> Values {
    let given = all.into_iter().filter_map(|(flag, key, value)| {
        Some((flag, (key, value.filter(|value| !value.is_empty())?)))
    });
    given.collect()
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.without_snippet().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_etcd_stands_for_flags() {
        let text = "
name: cp1
data-dir: /var/lib/etcd
listen-client-urls: https://127.0.0.1:2379
auto-compaction-retention: 8
client-transport-security:
  cert-file: /pki/server.crt
  key-file: /pki/server.key
  client-cert-auth: true
peer-transport-security: {cert-file: /pki/peer.crt, key-file: ''}
";
        let values = Configuration::of("etcd").unwrap().read(text).unwrap();
        let of = |flag: &str| values.get(flag).map(|(key, value)| (*key, value.as_str()));
        let key = "client-transport-security.cert-file";
        assert_eq!(of("cert-file"), Some((key, "/pki/server.crt")));
        assert_eq!(of("listen-client-urls").unwrap().1, "https://127.0.0.1:2379");
        assert_eq!(of("peer-cert-file").unwrap().1, "/pki/peer.crt");
        assert_eq!(of("peer-key-file"), None);
        assert_eq!(of("trusted-ca-file"), None);
    }

    #[test]
    fn file_of_the_scheduler_names_its_kubeconfig() {
        let read = Configuration::of("kube-scheduler").unwrap();
        let values =
            read.read("kind: X\nclientConnection: {kubeconfig: /s.conf, qps: 50}").unwrap();
        assert_eq!(values.get("kubeconfig").unwrap().1, "/s.conf");
        assert_eq!(read.read("kind: X\n").unwrap(), Values::new());
        assert!(read.read("[").is_err());
    }

    #[test]
    fn variable_of_a_flag_is_in_capitals() {
        let etcd = Configuration::of("etcd").unwrap();
        assert_eq!(etcd.variable("peer-cert-file").as_deref(), Some("ETCD_PEER_CERT_FILE"));
        assert_eq!(Configuration::of("kube-scheduler").unwrap().variable("kubeconfig"), None);
    }
}

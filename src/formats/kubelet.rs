//! kubelet's configuration: the settings that decide about its certificates, its port, and its
//! container runtime.
//!
//! They come from a KubeletConfiguration, from drop-ins that are merged into it, and from the
//! command line, which takes precedence over both (`NewKubeletCommand` in kubelet's source).

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_saphyr::DuplicateKeyPolicy;

/// A value, and the place that it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The setting's name and place: `tlsCertFile in /var/lib/kubelet/config.yaml`.
    pub by: String,
}

/// The settings that matter here. Each is absent where nothing sets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeletConfig {
    /// The certificate that kubelet serves.
    pub tls_cert_file: Option<Setting<String>>,
    /// Its key.
    pub tls_private_key_file: Option<Setting<String>>,
    /// Whether kubelet has its serving certificate signed by the cluster.
    pub server_tls_bootstrap: Option<Setting<bool>>,
    /// Whether kubelet renews its client certificate.
    pub rotate_certificates: Option<Setting<bool>>,
    /// The address that it listens at.
    pub address: Option<Setting<String>>,
    /// The port.
    pub port: Option<Setting<u16>>,
    /// The socket of the container runtime, with or without `unix://`.
    pub container_runtime_endpoint: Option<Setting<String>>,
}

impl KubeletConfig {
    /// Merges a KubeletConfiguration, or a part of one, in YAML or JSON. What it says takes
    /// precedence; `null` removes a setting. `place` names the file.
    ///
    /// # Errors
    /// The parser's message, when it can't be read.
    pub fn merge(&mut self, text: &str, place: &dyn fmt::Display) -> Result<(), String> {
        let found = parse(text)?;
        let by = |name: &str| format!("{name} in {place}");
        set(&mut self.tls_cert_file, found.tls_cert_file, || by("tlsCertFile"));
        set(&mut self.tls_private_key_file, found.tls_private_key_file, || by("tlsPrivateKeyFile"));
        set(&mut self.server_tls_bootstrap, found.server_tls_bootstrap, || {
            by("serverTLSBootstrap")
        });
        set(&mut self.rotate_certificates, found.rotate_certificates, || by("rotateCertificates"));
        set(&mut self.address, found.address, || by("address"));
        set(&mut self.port, found.port, || by("port"));
        set(&mut self.container_runtime_endpoint, found.container_runtime_endpoint, || {
            by("containerRuntimeEndpoint")
        });
        Ok(())
    }

    /// Applies the flags of a command line.
    pub fn apply_flags(&mut self, words: &[String]) {
        let text = |name: &str| flag(words, name);
        let switch = |name: &str| {
            let found = switch(words, name)?;
            Some(Setting { value: found, by: flag_name(name) })
        };
        let value = |name: &str| Some(Setting { value: text(name)?, by: flag_name(name) });
        let port = || Some(Setting { value: text("port")?.parse().ok()?, by: flag_name("port") });
        take(&mut self.tls_cert_file, value("tls-cert-file"));
        take(&mut self.tls_private_key_file, value("tls-private-key-file"));
        take(&mut self.server_tls_bootstrap, switch("rotate-server-certificates"));
        take(&mut self.rotate_certificates, switch("rotate-certificates"));
        take(&mut self.address, value("address"));
        take(&mut self.port, port());
        take(&mut self.container_runtime_endpoint, value("container-runtime-endpoint"));
    }

    /// The settings about certificates, to compare two configurations by.
    pub fn about_certificates(&self) -> [(&'static str, Option<String>); 4] {
        let text = |one: &Option<Setting<String>>| one.as_ref().map(|one| one.value.clone());
        let switch = |one: &Option<Setting<bool>>| one.as_ref().map(|one| one.value.to_string());
        [
            ("tlsCertFile", text(&self.tls_cert_file)),
            ("tlsPrivateKeyFile", text(&self.tls_private_key_file)),
            ("serverTLSBootstrap", switch(&self.server_tls_bootstrap)),
            ("rotateCertificates", switch(&self.rotate_certificates)),
        ]
    }
}

fn flag_name(name: &str) -> String {
    format!("--{name} in kubelet's flags")
}

fn set<T>(setting: &mut Option<Setting<T>>, found: Option<Option<T>>, by: impl FnOnce() -> String) {
    match found {
        None => {}
        Some(None) => *setting = None,
        Some(Some(value)) => *setting = Some(Setting { value, by: by() }),
    }
}

fn take<T>(setting: &mut Option<Setting<T>>, found: Option<Setting<T>>) {
    if found.is_some() {
        *setting = found;
    }
}

/// The value of a flag; the last one counts. kubelet accepts `_` for `-` in its name.
#[must_use]
pub fn flag(words: &[String], name: &str) -> Option<String> {
    let mut words = words.iter().take_while(|word| *word != "--").peekable();
    let mut found = None;
    while let Some(word) = words.next() {
        let Some((flag, value)) = split_flag(word).filter(|(flag, _)| flag == name) else {
            continue;
        };
        drop(flag);
        found = value.or_else(|| words.peek().map(|next| (*next).clone())).or(found);
    }
    found
}

/// The value of a flag that is true without one.
fn switch(words: &[String], name: &str) -> Option<bool> {
    let words = words.iter().take_while(|word| *word != "--");
    let found = words.filter_map(|word| split_flag(word).filter(|(flag, _)| flag == name));
    // As Go's strconv.ParseBool reads it.
    found.last().and_then(|(_, value)| match value.as_deref() {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        Some(_) => None,
    })
}

fn split_flag(word: &str) -> Option<(String, Option<String>)> {
    let flag = word.strip_prefix("--")?;
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (flag, None),
    };
    Some((name.replace('_', "-"), value))
}

/// `None` for a key that is absent, `Some(None)` for `null`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fragment {
    #[serde(deserialize_with = "present")]
    tls_cert_file: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    tls_private_key_file: Option<Option<String>>,
    #[serde(rename = "serverTLSBootstrap", deserialize_with = "present")]
    server_tls_bootstrap: Option<Option<bool>>,
    #[serde(deserialize_with = "present")]
    rotate_certificates: Option<Option<bool>>,
    #[serde(deserialize_with = "present")]
    address: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    port: Option<Option<u16>>,
    #[serde(deserialize_with = "present")]
    container_runtime_endpoint: Option<Option<String>>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn parse(text: &str) -> Result<Fragment, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    let mut reader = text.as_bytes();
    match serde_saphyr::read_with_options(&mut reader, options).next() {
        Some(Ok(fragment)) => Ok(fragment),
        Some(Err(error)) => Err(error.without_snippet().to_string()),
        None => Err("it is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    const FULL: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
        authentication:\n  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}\n\
        tlsCertFile: /srv/a.crt\ntlsPrivateKeyFile: /srv/a.key\nserverTLSBootstrap: true\n\
        rotateCertificates: true\naddress: 0.0.0.0\nport: 10251\n";

    #[test]
    fn later_files_and_flags_take_precedence() {
        let mut config = KubeletConfig::default();
        config.merge(FULL, &"a").unwrap();
        let value = |config: &KubeletConfig| {
            let certificate = config.tls_cert_file.clone().unwrap();
            (certificate.value, certificate.by)
        };
        assert_eq!(value(&config), ("/srv/a.crt".into(), "tlsCertFile in a".into()));
        assert_eq!(config.port.as_ref().unwrap().value, 10251);
        config
            .merge("{\"tlsCertFile\": \"/srv/b.crt\", \"rotateCertificates\": false}", &"b")
            .unwrap();
        assert_eq!(value(&config), ("/srv/b.crt".into(), "tlsCertFile in b".into()));
        assert!(!config.rotate_certificates.as_ref().unwrap().value);
        config.merge("serverTLSBootstrap: null\n", &"c").unwrap();
        assert_eq!(config.server_tls_bootstrap, None);
        config.apply_flags(&words("kubelet --tls_cert_file /srv/c.crt --rotate-certificates"));
        let by = "--tls-cert-file in kubelet's flags".to_owned();
        assert_eq!(value(&config), ("/srv/c.crt".into(), by));
        assert!(config.rotate_certificates.as_ref().unwrap().value);
        config.apply_flags(&words("kubelet --rotate-certificates=false -- --port=1"));
        assert!(!config.rotate_certificates.as_ref().unwrap().value);
        assert_eq!(config.port.unwrap().value, 10251);
    }

    #[test]
    fn flags_are_read_as_kubelet_reads_them() {
        let found = |line: &str| flag(&words(line), "config");
        assert_eq!(found("kubelet --config=/a --config /b"), Some("/b".to_owned()));
        assert_eq!(found("kubelet --config-dir=/a"), None);
        assert_eq!(found("kubelet --v=2 config=/a"), None);
        assert_eq!(switch(&words("kubelet --x=T"), "x"), Some(true));
        assert_eq!(switch(&words("kubelet --x=no"), "x"), None);
    }

    #[test]
    fn what_is_no_configuration_is_an_error() {
        for text in ["", "- a\n", "tlsCertFile: [1]\n", "port: 99999\n", "\t{"] {
            assert!(KubeletConfig::default().merge(text, &"x").is_err(), "{text:?}");
        }
    }
}

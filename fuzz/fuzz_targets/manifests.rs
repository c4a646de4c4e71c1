//! Reads arbitrary text as the manifest of a static pod: the reader must not panic, and a path of a
//! pod maps only to an absolute path of the host.
#![no_main]

use kubecertd::formats::manifest::Pod;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(manifest) = Pod::parse(text) else { return };
    let _ = (manifest.name(), manifest.health());
    for flag in ["tls-cert-file", "client-ca-file", "kubeconfig", "etcd-servers", "data-dir"] {
        let Some(path) = manifest.flag(flag) else { continue };
        if let Ok(host) = manifest.host_path(path) {
            let has_no_parent = host.as_path().components().all(|part| part.as_os_str() != "..");
            assert!(host.as_path().is_absolute() && has_no_parent, "{host}");
        }
    }
});

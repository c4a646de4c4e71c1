//! Any text may lie in the folder of static pod manifests: none may make the reader panic, and no
//! path that a pod names leads to anything but an absolute path of the host.
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
            assert!(host.as_path().is_absolute() && host.as_path().components().all(|part| part.as_os_str() != ".."), "{host}");
        }
    }
});

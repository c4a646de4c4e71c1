//! Any file may lie where a certificate or a key is expected: none may make the readers panic.
#![no_main]

use kubecertd::formats::pem;
use kubecertd::formats::x509::{Certificate, PrivateKey, certificates};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = certificates(file);
    let _ = PrivateKey::from_pem(file);
    // The fuzzer would take long to find the armour by itself.
    if let Ok(certificate) = Certificate::from_der(file) {
        let _ = certificate.is_self_signed();
        let _ = format!("{certificate:?}");
    }
    let _ = PrivateKey::from_pem(pem::encode("PRIVATE KEY", file).as_bytes());
});

//! Reads arbitrary bytes as certificate and as key: the readers must not panic.
#![no_main]

use kubecertd::formats::pem;
use kubecertd::formats::x509::{Certificate, PrivateKey, certificates};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = certificates(file);
    let _ = PrivateKey::from_pem(file);
    // The PEM armour is added, since the fuzzer would take long to find it.
    if let Ok(certificate) = Certificate::from_der(file) {
        let _ = certificate.is_self_signed();
        let _ = format!("{certificate:?}");
    }
    let _ = PrivateKey::from_pem(pem::encode("PRIVATE KEY", file).as_bytes());
});

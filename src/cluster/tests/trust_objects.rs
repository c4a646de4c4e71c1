//! The objects that hold the root CA's certificate.

mod bundles;
mod copies;
mod single;

use super::*;
use crate::formats::x509::Certificate;
use crate::model::CaFile;

/// The two roots of a rotation, and another CA.
struct Roots {
    old: Certificate,
    new: Certificate,
    other: Certificate,
}

impl Roots {
    fn make() -> Self {
        let [old, new, other] =
            ["ca", "ca", "other"].map(|name| Authority::new(name).certificate());
        Self { old, new, other }
    }

    fn change(&self, wanted: CaFile) -> RootChange {
        RootChange { old: self.old.clone(), new: self.new.clone(), wanted }
    }

    /// The PEM of these: `o`, `n`, or another one.
    fn pem(&self, names: &str) -> String {
        let certificate = |name| match name {
            'o' => &self.old,
            'n' => &self.new,
            _ => &self.other,
        };
        names.chars().map(|name| certificate(name).to_pem()).collect()
    }

    fn base64(&self, names: &str) -> String {
        BASE64_STANDARD.encode(self.pem(names))
    }
}

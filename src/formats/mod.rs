//! The file formats of a controller node: certificates and keys, kubeconfigs, static pod manifests.
//!
//! What lives here turns bytes into facts and facts into bytes. It opens no file, knows no path
//! that it was not given, and decides nothing.

pub mod kubeconfig;
pub mod manifest;
pub mod pem;
pub mod x509;

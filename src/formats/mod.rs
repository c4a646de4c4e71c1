//! The file formats of a control-plane node: certificates and keys, kubeconfigs, static pod
//! manifests, kubelet's configuration, units of systemd.
//!
//! This module turns bytes into facts and facts into bytes. It opens no file, knows only the paths
//! that it is given, and decides nothing.

pub mod edit;
mod flag_name;
pub mod kubeadm;
pub mod kubeconfig;
pub mod kubelet;
pub mod manifest;
pub mod node_report;
pub mod pem;
pub mod plain_text;
pub mod rotation_intent;
pub mod unit;
pub mod x509;

//! Input from real clusters that differs from what kubeadm writes: the real program runs on a node
//! with it, and files, exit codes, JSON and alarms are asserted.
//!
//! - `trust`: which CA signs, and which CA certificates the kubeconfigs of the node trust
//! - `authorities`: intermediate CAs, SHA-1, external CAs of two tiers, key files by other names
//! - `contents`: chains, users of kubeconfigs, keys of unusual algorithms, texts about broken files
//! - `pods`: static pods that say their flags otherwise, and other users of renewed files
//! - `lost`: credentials and directories that are gone
//! - `lives`: how long certificates live
//! - `current`: what Kubernetes 1.29 to 1.36 write otherwise
//! - `kubelet`: kubelet's serving certificate by its configuration
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own, and ask openssl")]

#[path = "../common/mod.rs"]
mod common;

mod authorities;
mod contents;
mod current;
mod kubelet;
mod lives;
mod lost;
mod pods;
mod support;
mod trust;

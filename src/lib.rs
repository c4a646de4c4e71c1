//! kubecertd keeps the certificates of a Kubernetes control-plane node from expiring.
//!
//! The modules are layers, and each imports only from the ones below it: `cli`, [`daemon`],
//! [`report`], [`pass`], [`observe`], [`act`], [`cluster`], [`plan`], [`drivers`],
//! [`credentials`], [`state`], [`store`], [`settings`], [`formats`], [`sys`], and [`model`] at the
//! bottom.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::disallowed_methods
    )
)]

pub mod act;
pub mod cli;
pub mod cluster;
pub mod credentials;
pub mod daemon;
pub mod demo;
pub mod drivers;
pub mod formats;
pub mod model;
pub mod observe;
pub mod pass;
pub mod plan;
pub mod report;
pub mod settings;
pub mod state;
pub mod store;
pub mod sys;

/// What the unit tests share with the integration tests.
#[cfg(test)]
#[path = "../tests/common"]
mod common {
    pub mod pictures;
    pub mod requirements;
    mod requirements_tests;
    pub mod trees;
}

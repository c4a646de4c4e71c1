//! kubecertd keeps the certificates of a Kubernetes controller node from expiring.
//!
//! The modules are layers: each imports only from the ones below it, in this order: [`model`] and [`sys`] at the
//! bottom, then [`formats`], [`settings`], [`store`], [`plan`], [`observe`] and [`act`], `pass`, `cli`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods))]

pub mod credentials;
pub mod demo;
pub mod formats;
pub mod model;
pub mod plan;
pub mod store;
pub mod sys;

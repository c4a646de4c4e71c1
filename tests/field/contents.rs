//! The contents of certificate files and kubeconfigs of real clusters.

mod chains;
mod keys;
mod texts;
mod users;

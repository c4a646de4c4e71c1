//! The contents of certificate files and kubeconfigs of real clusters.

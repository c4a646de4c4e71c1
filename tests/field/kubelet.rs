//! kubelet's serving certificate, by its configuration.

//! Which CA signs, and which CA certificates the kubeconfigs of the node trust.

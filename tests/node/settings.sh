# Shared settings of the scripts in this directory. Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts use the variables

# The directory of everything that is made once outside of the tree. It may be deleted at any time.
cache=${NODE_CACHE:-/var/cache/kubecertd-node}
# The programs of Kubernetes. Without KUBE_BIN, version 1.20 is built. To test with another one, set
# KUBE_BIN to a directory with its kubeadm, kubelet, kubectl, kube-apiserver,
# kube-controller-manager and kube-scheduler, 1.20 to 1.36, and NODE_CACHE to another directory.
# The first may have some of node_programs too, which replace those of Debian 12: 1.36 needs
# containerd 2 and etcd 3.6. They have to run with glibc 2.36.
kube=${KUBE_BIN:-$cache/kubernetes}
node_programs=(containerd containerd-shim-runc-v2 ctr runc etcd etcdctl)
disk=$cache/disk
nodes=$cache/nodes

# etcd_tag COMMAND...: prints the tag of etcd's image; the command runs etcd on the node.
etcd_tag() { "$@" etcd --version | sed -n 's/^etcd Version: \(.*\)/\1-0/p'; }

# minor_version COMMAND...: prints the 20 of v1.20.2; the command runs kubeadm on the node.
minor_version() { "$@" kubeadm version -o short | cut -d . -f 2; }

# kubeadm_api COMMAND...: prints the version of the configuration that this kubeadm reads.
kubeadm_api() {
  local minor
  minor=$(minor_version "$@")
  if ((minor > 30)); then echo v1beta4; elif ((minor > 21)); then echo v1beta3; else
    echo v1beta2
  fi
}

# The token that the nodes of the cluster join with.
bootstrap_token=abcdef.0123456789abcdef

# The mirror that this machine's own packages come from.
mirror() {
  local site
  # shellcheck disable=SC2016 # apt-get replaces it
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1)
  echo "${site%/}"
}

# packages NAME...: installs those that are not installed yet.
packages() {
  local package missing=()
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

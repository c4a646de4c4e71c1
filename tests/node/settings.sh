# Shared settings of the scripts in this directory. Sourced, not run.

# The directory of everything that is made once outside of the tree. It may be deleted at any time.
cache=${NODE_CACHE:-/var/cache/kubecertd-node}
# The programs of Kubernetes. Set KUBE_BIN to a directory with kubeadm, kubelet, kubectl,
# kube-apiserver, kube-controller-manager and kube-scheduler of any version from 1.20 to 1.36, and a
# NODE_CACHE of its own; without it, 1.20 is built. Debian's containerd, runc and etcd are too old
# for some: those in that directory (containerd, containerd-shim-runc-v2, ctr, runc, etcd, etcdctl)
# take their place.
kube=${KUBE_BIN:-$cache/kubernetes}
disk=$cache/disk
nodes=$cache/nodes

# The mirror that this machine's own packages come from.
mirror() {
  local site
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

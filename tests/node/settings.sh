# What the scripts in this folder share: where they keep what takes long to make. Sourced, not run.

# Everything outside the tree is below this folder; deleting it costs the time to make it again.
cache=${NODE_CACHE:-/var/cache/kubecertd-node}
# The Kubernetes that the nodes run. Set KUBE_BIN to a folder with kubeadm, kubelet, kubectl,
# kube-apiserver, kube-controller-manager and kube-scheduler of any version; without it, one is
# built.
kube=${KUBE_BIN:-$cache/kubernetes}
disk=$cache/disk
nodes=$cache/nodes

# The mirror that this machine's own packages come from.
mirror() {
  local site
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1)
  echo "${site%/}"
}

# packages NAME...: those that are not installed yet.
packages() {
  local package missing=()
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

#!/bin/sh
# Prepares a container of systemd-nspawn to be a node of Kubernetes.

# Propagates mounts to containers, and makes the control groups writable.
mount --make-rshared /
for dir in /sys/fs/cgroup /sys/fs/cgroup/*/; do
  mount -o remount,bind,rw "$dir" 2>/dev/null
done

# Creates a separate control group for the pods. With cgroup v1 all nodes see the control groups of
# the whole machine, and a kubelet would remove those of another one.
own=$(cat /etc/hostname)
for dir in /sys/fs/cgroup/*/; do
  mkdir -p "$dir$own" 2>/dev/null || continue
  for setting in cpuset.cpus cpuset.mems; do
    [ ! -e "$dir$setting" ] || cat "$dir$setting" >"$dir$own/$setting"
  done
done
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || mkdir -p "/sys/fs/cgroup/$own"

# kubelet sets these three sysctls and exits where it can't. They belong to the whole machine, so
# the node gets its own files with the values that kubelet wants.
mkdir -p /run/kernel
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  file=/run/kernel/$(basename "${setting%=*}")
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

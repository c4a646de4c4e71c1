#!/bin/sh
# What a container of systemd-nspawn needs to be a node of Kubernetes itself.

# Mounts that are passed on to containers, and control groups that can be written.
mount --make-rshared /
for folder in /sys/fs/cgroup /sys/fs/cgroup/*/; do
  mount -o remount,bind,rw "$folder" 2>/dev/null
done

# A place of its own for the pods: with control groups of version 1 all nodes see the whole
# machine's, and a kubelet would clear away another one's.
own=$(cat /etc/hostname)
for folder in /sys/fs/cgroup/*/; do
  mkdir -p "$folder$own" 2>/dev/null || continue
  for setting in cpuset.cpus cpuset.mems; do
    [ ! -e "$folder$setting" ] || cat "$folder$setting" >"$folder$own/$setting"
  done
done
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || mkdir -p "/sys/fs/cgroup/$own"

# kubelet sets these three, and gives up where it can't. They are the whole machine's, so it sees
# files of its own with the values that it wants.
mkdir -p /run/kernel
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  file=/run/kernel/$(basename "${setting%=*}")
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

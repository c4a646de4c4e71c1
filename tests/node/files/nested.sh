#!/bin/sh
# What a container of systemd-nspawn needs to be a node of Kubernetes itself.

# Mounts that are passed on to containers, and control groups that can be written.
mount --make-rshared /
for folder in /sys/fs/cgroup /sys/fs/cgroup/*/; do
  mount -o remount,bind,rw "$folder" 2>/dev/null
done

# kubelet sets these three, and gives up where it can't. They are the whole machine's, so it sees files of its own with the
# values that it wants.
mkdir -p /run/kernel
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  file=/run/kernel/$(basename "${setting%=*}")
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

#!/bin/sh
# boot_machine.sh ROOT SCRATCH INIT...: run INIT as the first process of a machine of its own.
# Called as root in new namespaces (mount, pid, network, ...), which take everything with them when they end.
# The machine sees the Debian in ROOT; what it changes lands in SCRATCH.
set -eu
base=$1 scratch=$2
shift 2
root=$scratch/root

mount --make-rprivate /
mkdir -p "$root" "$scratch/changes" "$scratch/work"
mount -t overlay -o "lowerdir=$base,upperdir=$scratch/changes,workdir=$scratch/work" overlay "$root"

mount -t proc proc "$root/proc"
# What is set there would be set for the machine the tests run on.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
if [ "$(basename "$1")" = systemd ]; then mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"; fi

ip link set lo up
echo pyrox-test >/proc/sys/kernel/hostname
cd "$root"
pivot_root . mnt
cd /
umount -l /mnt
exec env -i container=tests PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"

#!/bin/bash
# Becomes the first process of a system in a directory: boot.sh ROOT GROUP. It has to be started in namespaces of its own (mounts, processes, names, control groups),
# and puts what it boots into a control group GROUP below its own one.
set -euo pipefail
readonly ROOT=$1 GROUP=$2

mount -t sysfs -o ro sysfs "$ROOT/sys"
# The machine's one tree of control groups (version 2), wherever it has it.
mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
own=$ROOT/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
mkdir "$own/$GROUP"
echo $$ >"$own/$GROUP/cgroup.procs"
umount "$ROOT/sys/fs/cgroup"

# From here on, that group is the top of what can be seen.
exec unshare --cgroup /bin/bash -euo pipefail -s "$ROOT" <<'INSIDE'
root=$1
mount --rbind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%:*}" "$root/dev/${stream#*:}"; done

# What a machine does for its hardware, its network and who sits before it is not ours to do.
for unit in systemd-firstboot.service systemd-networkd.service systemd-networkd.socket systemd-logind.service getty.target; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
echo uninitialized >"$root/etc/machine-id"

cd "$root"
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
rmdir /.outside
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /sbin/init --log-target=null --show-status=no systemd.unit=multi-user.target </dev/null >/dev/null 2>&1
INSIDE

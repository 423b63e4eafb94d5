#!/bin/sh
# boot.sh COMMAND...: runs COMMAND as a service of a systemd that is the first process of its own namespaces. Runs inside of enter.sh:
# /usr, /etc, /var and /run are discarded afterwards. Of the system's units, only the journal and the bus are started.
set -eu
if [ "$1" != inside ]; then
  # The control groups that systemd creates are removed with this one.
  mkdir /run/cgroup; mount -t cgroup2 none /run/cgroup
  group=$(mktemp -d /run/cgroup/etrn-XXXXXX)
  mkfifo /run/boot.output; cat /run/boot.output &
  status=0
  (echo 0 >"$group/cgroup.procs"; exec unshare --pid --fork --cgroup --ipc --mount --mount-proc "$0" inside "$@") || status=$?
  find "$group" -depth -type d -exec rmdir {} +
  # If systemd has failed, nothing else has opened the pipe.
  : <>/run/boot.output; wait
  exit $status
fi
shift

# Other devices and a writable /sys would be the machine's.
mkdir /run/dev; mount -t tmpfs -o mode=755 none /run/dev; mkdir /run/dev/net /run/dev/shm
for device in full net/tun null random tty urandom zero; do touch /run/dev/$device; mount --bind /dev/$device /run/dev/$device; done
ln -s pts/ptmx /run/dev/ptmx
mount --move /run/dev /dev
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup

# Nothing of the machine's own is mounted, tuned or started.
: >/etc/fstab
rm -rf /usr/lib/systemd/system-generators /etc/systemd/system /usr/lib/systemd/system/*.target.wants
mkdir -p /etc/systemd/system /etc/sysusers.d
hostname >/etc/hostname
echo 'u dhcpcd -' >/etc/sysusers.d/boot.conf
systemd-sysusers 2>/dev/null
{ printf '%s\0' "--chdir=$PWD"; env -0; printf '%s\0' "$@"; } >/run/boot.words
cat >/etc/systemd/system/boot.service <<'END'
[Unit]
Requires=systemd-journald.socket systemd-journald-dev-log.socket dbus.socket
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/usr/bin/xargs --null --arg-file=/run/boot.words /usr/bin/env
StandardOutput=file:/run/boot.output
StandardError=inherit
END
export container=boot
exec /usr/lib/systemd/systemd --unit=boot.service --show-status=no --log-target=journal

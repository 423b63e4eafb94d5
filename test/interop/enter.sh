#!/bin/sh
# enter.sh TREE COMMAND...: runs COMMAND in new network, mount, process and host name namespaces. The unpacked packages of TREE are
# mounted over /usr, /etc and /var; changes there are discarded. When COMMAND ends, its processes end, too. Needs root.
set -eu
if [ "$1" != inside ]; then
  exec unshare --net --mount --pid --fork --uts --mount-proc --propagation private "$0" inside "$@"
fi
tree=$2; shift 2
ip link set lo up
scratch=$(mktemp -d); mount -t tmpfs none "$scratch"; chmod 755 "$scratch"
for folder in usr etc var; do
  mkdir -p "$tree/$folder" "$scratch/$folder" "$scratch/$folder.work"
  mount -t overlay overlay -o "lowerdir=$tree/$folder:/$folder,upperdir=$scratch/$folder,workdir=$scratch/$folder.work" "/$folder"
done
mount -t tmpfs none /run
hostname gw.site.example
echo '127.0.0.1 localhost gw.site.example' >/etc/hosts
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
printf 'passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n' >/etc/nsswitch.conf
# Without exec, the shell stays the first process of the namespace and reaps orphans; node would not.
status=0
"$@" || status=$?
exit $status

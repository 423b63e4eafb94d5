#!/bin/sh
# packages.sh MTA: downloads the Debian packages of an MTA, or of the programs that run hooks (MTA `hooks`), and unpacks them into a
# folder. Prints the folder's name. The MTAs conflict with each other, so none is installed: enter.sh mounts one over the system for
# a test. Needs apt-get, but not root.
set -eu
mta=$1
base=${ETRN_INTEROP:-${XDG_CACHE_HOME:-$HOME/.cache}/etrn-interop}
case $mta in
postfix) packages='postfix libdb5.3 libnsl2 libtirpc3 sasl2-bin libsasl2-modules libsasl2-modules-db' ;;
exim) packages='exim4-base exim4-daemon-heavy libmariadb3 libspf2-2 libgnutls-dane0 libunbound8 libevent-2.1-7 libidn12
  libpcre2-8-0 libpq5 libperl5.36 libdb5.3 libldap-2.5-0 libnsl2 libtirpc3' ;;
sendmail) packages='sendmail-bin sendmail-base sendmail-cf m4 libsigsegv2 liblockfile1 libwrap0 libdb5.3 libldap-2.5-0 libnsl2
  libtirpc3 libsasl2-2' ;;
opensmtpd) packages='opensmtpd libdb5.3 libevent-2.1-7' ;;
hooks) packages='cron cron-daemon-common ifupdown ppp shellcheck busybox cloud-init dhcpcd dhcpcd-base openvpn wireguard-tools
  wireguard-go networkd-dispatcher python3-dbus python3-gi gir1.2-glib-2.0 libgirepository-1.0-1 dbus dbus-bin dbus-daemon
  dbus-system-bus-common libdbus-1-3 systemd libsystemd-shared libapparmor1 libargon2-1 libaudit1 libcap-ng0 libcryptsetup12
  libdevmapper1.02.1 libfdisk1 libip4tc2 libjson-c5 libkmod2 liblz4-1 liblzo2-2 libnl-3-200 libnl-genl-3-200 libpkcs11-helper1
  libseccomp2' ;;
*) echo "$0: unknown MTA $mta" >&2; exit 64 ;;
esac
root=$base/$mta
# Two test files of one MTA may start at the same time.
mkdir -p "$base"; exec 9>"$base/$mta.lock"; flock 9
if [ "$packages" != "$(cat "$root/complete" 2>/dev/null)" ]; then
  rm -rf "$root"; mkdir -p "$root/deb" "$root/tree"; chmod 755 "$base" "$root" "$root/tree"
  cd "$root/deb"
  # shellcheck disable=SC2086 # the packages are separate arguments
  apt-get -qq -o APT::Sandbox::User=root download $packages >&2
  for package in *.deb; do dpkg -x "$package" "$root/tree"; done
  # /bin, /lib and /sbin are links into /usr, so that the packages' files must move there, too.
  for folder in bin lib sbin; do
    if [ -d "$root/tree/$folder" ]; then
      mkdir -p "$root/tree/usr/$folder"; cp -a "$root/tree/$folder/." "$root/tree/usr/$folder/"; rm -rf "${root:?}/tree/$folder"
    fi
  done
  echo "$packages" >"$root/complete"
fi
echo "$root/tree"

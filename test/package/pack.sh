#!/usr/bin/env bash
# pack.sh FOLDER: packs the current commit into FOLDER, and checks the tarball. Two clones that differ in everything but their commit
# (path, umask, times of the files) must give the same octets.
set -euo pipefail
mkdir -p "$1"
target=$(realpath "$1")
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

pack() { # CLONE
  git clone --quiet . "$1"
  find "$1" -path "$1/.git" -prune -o -exec touch -d "$2" {} +
  (cd "$1" && npm ci --silent --prefer-offline && npm pack --silent --pack-destination .. >/dev/null)
}
(umask 022 && mkdir "$scratch/one" && pack "$scratch/one/clone" 2001-02-03)
(umask 077 && mkdir -p "$scratch/two/deeper" && pack "$scratch/two/deeper/another clone" 2011-12-13)
tarball=$(echo "$scratch"/one/etrn-*.tgz)
cmp "$tarball" "$scratch"/two/deeper/etrn-*.tgz

cd "$scratch/one/clone"
npx publint --strict "$tarball"
npx attw "$tarball" --profile esm-only

# Each relative link of the README leads to a file of the package.
tar -xzf "$tarball" -C "$scratch"
grep -oP '\]\(\K(?!https?:)[^)#]+' README.md | while read -r link; do
  [ -f "$scratch/package/$link" ] || { echo "README.md: $link is not in the package" >&2; exit 1; }
done

cp "$tarball" "$target"
echo "$target/${tarball##*/}"

#!/usr/bin/env bash
# install.sh TARBALL: runs the package in an empty folder and installs it, with the node of PATH. Nothing may be fetched.
set -euo pipefail
tarball=$(realpath "$1")
version=$(tar -xOzf "$tarball" package/package.json | node -p 'JSON.parse(fs.readFileSync(0)).version')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# npm's own cache may hold an earlier tarball of the same path.
export npm_config_cache="$scratch/cache" npm_config_offline=true npm_config_update_notifier=false

expect() { # EXPECTED ACTUAL
  [ "$1" = "$2" ] || { printf 'node %s: expected "%s" instead of "%s"\n' "$(node -p process.versions.node)" "$1" "$2" >&2; exit 1; }
}
mkdir "$scratch/empty" "$scratch/project"
cd "$scratch/empty"
expect "etrn $version" "$(npx --yes --package "$tarball" -- etrn --version)"

cd "$scratch/project"
npm install --silent "$tarball"
expect "etrn $version" "$(npx etrn --version)"
expect function "$(node --input-type=module -e "import { ask } from 'etrn'; console.log(typeof ask)")"

npm install --silent --prefix "$scratch/prefix" -g "$tarball"
expect "$(cat node_modules/etrn/man/etrn.1)" "$(cat "$scratch/prefix/share/man/man1/etrn.1")"
status=0
"$scratch/prefix/bin/etrn" 127.0.0.1:9 site.example || status=$?
expect 75 "$status"
echo "node $(node -p process.versions.node): etrn $version runs"

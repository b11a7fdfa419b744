#!/bin/sh
# Builds the console into console/dist with the system's node (20.19 or newer), or with node from a locked wheel in .venv.
# Does nothing when the build is newer than its sources.
set -eu
cd "$(dirname "$0")/.."
say() { printf 'lamplighter: %s\n' "$*" >&2; }
built=console/dist/index.html

if [ -f "$built" ] && [ -z "$(find console -path console/node_modules -prune -o -path console/dist -prune -o \
    -type f -newer "$built" -print | head -n 1)" ]; then
  exit 0
fi

fits() { "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }

if command -v node >/dev/null && command -v npm >/dev/null && fits node; then
  :
else
  if ! [ -x .venv/bin/node ]; then
    [ -x .venv/bin/python ] || { say "make .venv first: sh scripts/setup.sh"; exit 1; }
    say "no node 20.19 or newer here; installing one into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-node.lock
  fi
  PATH="$PWD/.venv/bin:$PATH"
  export PATH
fi

say "building the console"
cd console
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --no-audit --no-fund --loglevel=error
fi
npm run --silent build
touch dist/index.html

#!/bin/sh
# Makes .venv and installs one hash-pinned lock into it; does nothing when that was done already.
#   scripts/setup.sh run    what the product needs
#   scripts/setup.sh dev    that and what the tests need
#   scripts/setup.sh fuzz   what the product needs, and the coverage-guided fuzzer
set -eu
cd "$(dirname "$0")/.."
want=${1:-run}
python=${PYTHON:-python3}
say() { printf 'lamplighter: %s\n' "$*" >&2; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  say "Python 3.11 or newer is needed; '$python' is $("$python" --version 2>&1 || echo absent). Set PYTHON=… to another."
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  say "making .venv"
  if ! "$python" -m venv --clear .venv >/dev/null 2>&1; then
    # Debian and Ubuntu ship python3 without the part of venv that brings pip.
    say "this Python cannot make a virtual environment with pip; installing python3-venv"
    as_root sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv' >/dev/null || {
      say "could not install it: run 'apt-get install python3-venv' as root and try again"
      exit 1
    }
    "$python" -m venv --clear .venv
  fi
fi

case $want in
  run) lock=requirements.lock ;;
  dev) lock=requirements-dev.lock ;;
  fuzz) lock=requirements-fuzz.lock ;;
  *) say "expected run, dev or fuzz, found '$want'"; exit 2 ;;
esac
stamp=.venv/installed-$want
sum=$(cat requirements.lock requirements-dev.lock requirements-fuzz.lock pyproject.toml | sha256sum | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$sum $PWD" ]; then
  say "installing $lock (once)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
  rm -rf .venv/lib/python*/site-packages/tests  # gmqtt lays its tests there, which hides ours
  [ "$want" = fuzz ] || rm -f .venv/installed-run .venv/installed-dev
  printf '%s %s' "$sum" "$PWD" >"$stamp"
  [ "$want" = dev ] && printf '%s %s' "$sum" "$PWD" >.venv/installed-run
fi
exit 0

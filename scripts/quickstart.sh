#!/usr/bin/env bash
# From nothing to synthetic data: installs the project into .venv, then loads, samples, trains, evaluates and plugs in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_venv.sh
ensure_venv ""
exec .venv/bin/python scripts/quickstart.py

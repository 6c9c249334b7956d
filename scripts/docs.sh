#!/usr/bin/env bash
# Builds the API pages from the docstrings into site/; fails on a broken link.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_venv.sh
ensure_venv "[docs]"
.venv/bin/python scripts/docs_pages.py
.venv/bin/mkdocs build --strict
echo "open site/index.html"

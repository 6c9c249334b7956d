# Sourced by the other scripts: makes .venv with a Python of 3.11 or later and installs the project when it has to.
# usage: ensure_venv EXTRAS, for instance ensure_venv "[dev]"
ensure_venv() {
  local extras="$1" python="" candidate wanted stamp
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      python="$candidate"
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "error: no Python 3.11 to 3.13 found; install one, or name it with PYTHON=/path/to/python" >&2
    exit 2
  fi
  stamp=".venv/.installed"
  wanted="$extras $(cat pyproject.toml constraints.txt | cksum)"
  if [ -x .venv/bin/python ] && [ -f "$stamp" ] && grep -qxF -- "$wanted" "$stamp"; then
    return
  fi
  if [ ! -x .venv/bin/python ]; then
    echo "making .venv with $("$python" --version)"
    if ! "$python" -m venv .venv; then
      rm -rf .venv
      echo "error: $python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2
      exit 2
    fi
  fi
  echo "installing generative-zoo$extras (PyTorch is large: a few minutes the first time)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$extras"
  # What a smaller set of extras needs is there too, but an older pyproject's lines are void.
  grep -sF -- "$(cat pyproject.toml constraints.txt | cksum)" "$stamp" >"$stamp.new" || true
  echo "$wanted" >>"$stamp.new"
  mv "$stamp.new" "$stamp"
}

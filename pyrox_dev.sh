#!/bin/sh
# Sets up a virtual environment in .venv, then runs the proxy, its tests or its linters.
# Works on a bare Debian or Ubuntu with python3 (3.11 or later) and python3-venv; `help` says how.
set -eu

usage() {
    cat <<'END'
usage: ./pyrox_dev.sh VERB [ARGUMENT...]

  start [ARGUMENT...]   run the proxy: pyrox -c conf/pyrox.ini ARGUMENT...
  test [ARGUMENT...]    run the tests: pytest ARGUMENT...
  lint                  run ruff and mypy, and check that generated pages are current
  python ARGUMENT...    run the environment's Python with what developing needs
  help                  print this

The environment is made when it is missing and updated when a requirement changed.
PYTHON=/path/to/python chooses the interpreter it is made with.
END
}

fail() {
    echo "pyrox_dev.sh: $*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or later is needed and ${PYTHON:-python3} is not; set PYTHON=/path/to/python"
}

make_environment() {
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"
    echo "making a virtual environment in $PWD/.venv" >&2
    "$python" -m venv --clear .venv
}

# What is installed for the set $1, so that a changed requirement, or a moved checkout, is noticed.
fingerprint() {
    { pwd; cat setup.cfg setup.py pyproject.toml "tools/$1-requires"; } | cksum
}

has_installed() {
    [ -f ".venv/.$1-requires" ] && [ "$(cat ".venv/.$1-requires")" = "$(fingerprint "$1")" ]
}

# ensure_installed SET [LARGER SET...]: SET is there already when a larger one is.
ensure_installed() {
    .venv/bin/python -m pip --version >/dev/null 2>&1 || make_environment
    for larger in "$@"; do
        if has_installed "$larger"; then return; fi
    done
    echo "installing tools/$1-requires" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "tools/$1-requires"
    fingerprint "$1" >".venv/.$1-requires"
}

# All of them, so that one run shows everything there is to mend.
lint() {
    status=0
    .venv/bin/python -m ruff check . || status=1
    .venv/bin/python -m ruff format --check . || status=1
    .venv/bin/python -m mypy || status=1
    .venv/bin/python tools/generate_config_docs.py --check || status=1
    return $status
}

CDPATH="" cd "$(dirname "$0")"
verb=${1:-help}
[ $# -eq 0 ] || shift

case $verb in
    start)
        ensure_installed pip test dev
        exec .venv/bin/python -m pyrox -c conf/pyrox.ini "$@"
        ;;
    test)
        ensure_installed test dev
        exec .venv/bin/python -m pytest "$@"
        ;;
    lint)
        ensure_installed dev
        lint
        ;;
    python)
        ensure_installed dev
        exec .venv/bin/python "$@"
        ;;
    help | -h | --help)
        usage
        ;;
    *)
        usage >&2
        exit 2
        ;;
esac

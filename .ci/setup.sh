#!/bin/sh
# Makes .venv with a Python new enough, then hands over to setup.py, which fills it.
#
#   .ci/setup.sh [--xvfb]      see setup.py for the switch
#
# PYTHON=python3.12 .ci/setup.sh names the Python to make .venv with.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
    for check in can_make_venv true; do
        for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
            if new_enough "$candidate" && $check "$candidate"; then
                printf '%s\n' "$candidate"
                return
            fi
        done
    done
}

add_venv_module() {
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing $package, which Debian and Ubuntu keep apart from Python."
        apt-get update -qq >&2 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >&2 || true
    fi
    can_make_venv "$1" || fail "$1 cannot make a virtual environment:" \
        "install its venv module first (on Debian and Ubuntu: sudo apt-get install $package)."
}

# setup.py takes this file away when everything is installed, or failed in good order; if it is
# still there, an earlier set-up was killed half-way and the folder cannot be trusted.
unfinished=.venv/unfinished

if [ -e "$unfinished" ]; then
    say "An earlier set-up was cut off: making .venv anew."
elif [ -d .venv ] && ! new_enough .venv/bin/python; then
    say "The Python of .venv is gone or older than 3.11: making .venv anew."
elif [ -d .venv ]; then
    exec .venv/bin/python .ci/setup.py "$@"
fi

python=$(find_python)
[ -n "$python" ] || fail "Descriptor Space needs Python 3.11 or newer, and ${PYTHON:-python3} is" \
    "older or missing: install one, or name it (make run PYTHON=/path/to/python3.12)."
can_make_venv "$python" || add_venv_module "$python"
rm -rf .venv
mkdir .venv
: >"$unfinished"
"$python" -m venv .venv
exec .venv/bin/python .ci/setup.py "$@"

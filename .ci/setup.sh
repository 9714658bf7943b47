#!/bin/sh
# Creates .venv with a recent enough Python, then runs setup.py, which installs the packages.
#
#   .ci/setup.sh [--extras timm,onnx] [--xvfb]      see setup.py for the options
#
# PYTHON=python3.12 .ci/setup.sh selects the Python for .venv.
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
        say "Installing $package, which Debian and Ubuntu package separately from Python."
        apt-get update -qq >&2 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >&2 || true
    fi
    can_make_venv "$1" || fail "$1 cannot create a virtual environment:" \
        "install its venv module first (on Debian and Ubuntu: sudo apt-get install $package)."
}

# setup.py deletes this file when everything is installed, or when pip failed cleanly.  If it still
# exists, an earlier set-up was killed half-way and .venv may be damaged.
unfinished=.venv/unfinished
case "$(uname -s)" in
    MINGW* | MSYS* | CYGWIN*) venv_python=.venv/Scripts/python ;; # the shell of Git for Windows
    *) venv_python=.venv/bin/python ;;
esac

if [ -e "$unfinished" ]; then
    say "An earlier set-up was interrupted: recreating .venv."
elif [ -d .venv ] && ! new_enough "$venv_python"; then
    say "The Python of .venv is missing or older than 3.11: recreating .venv."
elif [ -d .venv ]; then
    exec "$venv_python" .ci/setup.py "$@"
fi

python=$(find_python)
[ -n "$python" ] || fail "Descriptor Space needs Python 3.11 or newer, and ${PYTHON:-python3} is" \
    "older or missing: install one, or give its path (make run PYTHON=/path/to/python3.12)."
can_make_venv "$python" || add_venv_module "$python"
extras=$(cat .venv/extras 2>/dev/null || true)
rm -rf .venv
mkdir .venv
: >"$unfinished"
[ -z "$extras" ] || printf '%s\n' "$extras" >.venv/extras # setup.py installs these again
"$python" -m venv .venv
exec "$venv_python" .ci/setup.py "$@"

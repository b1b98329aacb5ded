# Sourced by the scripts whose tests need programs that are not Python's.
#
#   install_missing WHO program:package …
#
# Installs with apt-get the packages of those programs that are not there. Says on standard error,
# in WHO's name, what is wrong where it can't, and returns 1.

install_missing() {
    who=$1
    shift
    missing=
    for pair; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 || {
        cannot_install "there is no apt-get to install them with"
        return 1
    }
    [ "$(id -u)" = 0 ] || {
        cannot_install "only root may install them"
        return 1
    }
    echo "$who: installing$missing …" >&2
    apt-get --quiet update >&2 || echo "$who: going on with the old package lists" >&2
    # RUNLEVEL=1: the packages' own services are not started; the tests start the programs.
    # shellcheck disable=SC2086  # a list of packages
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends $missing >&2 || {
        cannot_install "apt-get could not install them"
        return 1
    }
}

cannot_install() {
    echo "$who: needs$missing, and $1" >&2
    echo "${who}: install by hand what is missing, then run this again" >&2
}

# shellcheck shell=bash
# Shared by deploy/quickstart and deploy/test: finds Python, makes .venv, installs the pinned packages.
# Sourced with the repository as working directory and `set -euo pipefail` in force.

venv=.venv
log_dir=${TMPDIR:-/tmp}
is_live=0
if [[ -t 1 && ${TERM:-dumb} != dumb ]]; then is_live=1; fi

die() {
    printf '\n  %s\n' "$*" >&2
    exit 1
}

# step TITLE COMMAND...: runs the command with its output in a log file. On a terminal one live line shows the clock
# and the last thing the command said; elsewhere a line now and then. On failure: the log's tail and its path.
step() {
    local title=$1 log started now elapsed last pid status=0 next_line=2 frame=0
    shift
    log=$(mktemp "$log_dir/darkroom-install-XXXXXX.log")
    started=$(date +%s)
    # In a process group of its own, so that Ctrl-C ends the command with everything it started.
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    # shellcheck disable=SC2064  # the process id of now
    trap "kill -- -$pid 2>/dev/null; printf '\n'; exit 130" INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        now=$(date +%s)
        elapsed=$((now - started))
        last=$(tail -n 20 "$log" | grep -v '^WARNING' | tail -n 1 | tr -d '\r' | sed -E 's/^ +//; s/ \(from .*//' || true)
        if ((is_live)); then
            printf '\r\033[2K\033[36m  %s %s %4d s  %s\033[0m' "$(spinner "$frame")" "$title" "$elapsed" \
                "${last:0:$(($(terminal_width) - ${#title} - 16))}"
        elif ((elapsed >= next_line)); then
            printf '  ... %s (%d s): %s\n' "$title" "$elapsed" "${last:0:70}"
            next_line=$((elapsed + 10))
        fi
        frame=$((frame + 1))
        sleep 0.2
    done
    wait "$pid" || status=$?
    trap - INT TERM
    elapsed=$(($(date +%s) - started))
    if ((is_live)); then printf '\r\033[2K'; fi
    if ((status != 0)); then
        printf '  ✗ %s failed after %d s. The end of %s:\n\n' "$title" "$elapsed" "$log" >&2
        tail -n 15 "$log" | sed 's/^/     /' >&2
        exit 1
    fi
    rm -f "$log"
    if ((is_live)); then
        printf '  \033[32m✓\033[0m %-50s \033[2m%4d s\033[0m\n' "$title" "$elapsed"
    else
        printf '  ✓ %-50s %4d s\n' "$title" "$elapsed"
    fi
}

spinner() {
    local frames=('|' '/' '-' $'\\')
    printf '%s' "${frames[$1 % 4]}"
}

terminal_width() {
    local width=${COLUMNS:-0}
    if ((width < 40)); then width=$(tput cols 2>/dev/null || echo 80); fi
    if ((width < 40)); then width=80; fi
    printf '%d' "$width"
}

# Prints the Python to use: 3.11, or a newer one if that is all there is.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3; do
        if [[ -n $candidate ]] && command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

require_python() {
    if python=$(find_python); then return; fi
    if can_apt; then
        step "Installing Python" apt_install python3 python3-venv
        if python=$(find_python); then return; fi
    fi
    die "Python 3.11 is needed; install it (Debian 12: apt-get install python3 python3-venv) and run this again."
}

can_apt() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "$@" || { apt-get update && apt-get install -y --no-install-recommends "$@"; }
}

# Makes .venv if it is missing or was left half made.
ensure_venv() {
    if [[ -x $venv/bin/python ]] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        local package
        package=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
        can_apt || die "Python's venv module is missing; install it (apt-get install $package) and run this again."
        step "Installing $package" apt_install "$package"
    fi
    step "Creating $venv" "$python" -m venv --clear "$venv"
}

# install_packages NAME [EXTRA...]: the pinned packages, unless the stamp called NAME says that they are there.
install_packages() {
    local stamp_file="$venv/.installed-$1" stamp
    shift
    stamp=$("$venv/bin/python" -m deploy.appliance.requirements stamp "$@")
    if [[ -f $stamp_file && $(<"$stamp_file") == "$stamp" ]]; then return; fi
    step "Installing packages" pip_install "$@"
    printf '%s\n' "$stamp" >"$stamp_file"
}

pip_install() {
    local wanted status=0
    wanted=$(mktemp)
    "$venv/bin/python" -m deploy.appliance.requirements list "$@" >"$wanted"
    "$venv/bin/python" -m pip install --progress-bar off --disable-pip-version-check \
        -c deploy/constraints.txt -r "$wanted" || status=$?
    rm -f "$wanted"
    ((status == 0)) || return "$status"
    # The client and its command, .venv/bin/darkroom. setuptools is there by now, so this needs no network.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --editable apps/client
}

#!/bin/sh
# The steps of the Dockerfile. They live here because tests run them too, where there is no engine: see docs/docker.md.
#
#   install.sh dependencies serve|train PREFIX    a virtual environment without pip: what the target needs, as tested
#   install.sh package PREFIX OUT                 recsys itself, laid out to be copied over PREFIX
#   install.sh folder PATH OWNER                  an empty folder that OWNER may write to
#
# From the environment: PYTHON (python3), DEVICE (cpu or gpu: which build of FAISS), TORCH_INDEX (a further index).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

dependencies() {
    target=$1 prefix=$2
    device=${DEVICE:-cpu}
    case $target in
        serve) extras=$device ;;
        train) extras=train,$device ;;
        *) fail "target $target: expected serve or train" ;;
    esac
    "$python" -m venv --without-pip "$prefix"
    "$python" "$root/docker/requirements.py" "$root/pyproject.toml" "$extras" >"$prefix/requirements.txt"
    "$python" -m pip --disable-pip-version-check --python "$prefix/bin/python" install --quiet \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        --constraint "$root/constraints.txt" --requirement "$prefix/requirements.txt"
}

# Apart from the dependencies, so that a change to the code makes a layer of a megabyte and not one of hundreds.
package() {
    prefix=$1 out=$2
    sources=$(mktemp -d)
    trap 'rm -rf "$sources"' EXIT
    # A copy, because building leaves its own folders beside the sources.
    (cd "$root" && cp -R pyproject.toml README.md LICENSE recsys pipelines "$sources")
    "$python" -m pip --disable-pip-version-check --python "$prefix/bin/python" install --quiet \
        --no-deps --prefix "$out" "$sources"
}

folder() {
    mkdir -p "$1"
    chown "$2" "$1"
}

fail() {
    echo "install.sh: $1" >&2
    exit 2
}

step=${1:-}
[ $# -eq 3 ] || fail "expected one of: dependencies TARGET PREFIX, package PREFIX OUT, folder PATH OWNER"
shift
case $step in
    dependencies | package | folder) "$step" "$@" ;;
    *) fail "step $step: expected dependencies, package or folder" ;;
esac

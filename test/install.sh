# Part of test/run: what the tests of each tier need, installed once. Environments of Python lie in .venv and are made
# anew when their list of packages changes.
# shellcheck shell=sh disable=SC2086,SC2154 # lists are meant to be split; test/run sets salt_version

# A test whose tool is missing skips and says which.
debian_functional='busybox-static ca-certificates chromium chromium-driver docker-registry gpg gpg-agent iproute2 nginx-light
 podman prometheus prometheus-node-exporter skopeo'
# Of what Salt needs, timelib comes as source alone.
debian_compiler='gcc libc6-dev python3-dev'
debian_hosts='busybox-static ca-certificates docker-registry iproute2 mmdebstrap systemd-container'
fedora_packages='busybox ca-certificates docker-distribution gnupg2 nginx python3 skopeo'

# The environment of the unit tests has the pip that fills all others: one new enough to be quick (Debian's takes four
# times as long), and old enough for the Python of OpenStack.
pip='pip>=25,<26'
test_packages='
pytest>=8.3,<10
pytest-xdist>=3.8,<4
requests>=2.31,<3
bcrypt>=4,<6
cryptography>=42
PyJWT>=2.8,<3
PyYAML>=6,<7
python-gnupg>=0.5,<0.6
rich>=13,<16
'
# setuptools builds the formula's wheel.
style_packages='ruff>=0.9,<1 mypy>=1.14,<3 types-requests types-PyYAML salt-lint>=0.9,<1 setuptools>=70.1'
host_salt_versions='3006 3007 3008'
# Another implementation of the protocol, and an object store.
zuul='zuul-registry>=1.3,<2'
moto='moto[server]>=5,<6'
# Verifies keyless signatures; wants newer versions of much that Salt has.
sigstore='sigstore>=4,<5'
# axe-core, which looks for what keeps people from using a page; of the package only that file is used.
axe='--no-deps axe-playwright-python==0.1.8'
# The command lines of two OpenStack directors, for the tests of the undercloud: Queens, and one that knows
# ContainerImagePrepare.
openstack_queens='python-tripleoclient==9.3.1 tripleo-common==8.7.1'
openstack_train='python-tripleoclient==12.6.0 tripleo-common<12'

# Settings of the caller that would change which packages are found or where they go.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

# install_for TIER…
install_for() {
    make_test_environment
    [ "$*" != unit ] || return 0
    install_system_packages "$@"
    case $* in
        *hosts*) make_salt_environments ;;
        *) make_salt_environment ;;
    esac || exit 1
    case $* in
        *functional*) make_peers ;;
    esac
}

make_test_environment() {
    is_made unit $test_packages $style_packages && return
    find_python '(3, 10) <= sys.version_info < (3, 13)' python3 python3.12 python3.11 python3.10 /usr/bin/python3 ||
        find_python '(3, 10) <= sys.version_info' python3 python3.13 python3.14 ||
        install_python_venv
    make unit $test_packages $style_packages || exit 1
}

install_python_venv() {
    command -v apt-get >/dev/null && as_root apt-get update -qq && as_root apt-get install -qq --no-install-recommends python3-venv >/dev/null &&
        find_python '(3, 10) <= sys.version_info' python3 && return
    echo 'test/run: no Python 3.10 or newer with venv on PATH' >&2
    exit 1
}

make_salt_environment() {
    make_once "$salt_version" "salt>=$salt_version,<$((salt_version + 1))" 'docker>=7,<8' $test_packages
}

# Booted hosts prove the formula with each Salt; the environment that the tests run in serves as one of them.
make_salt_environments() {
    make_salt_environment || return 1
    for version in $host_salt_versions; do
        [ "$version" = "$salt_version" ] ||
            make_once "host-$version" "salt>=$version,<$((version + 1))" 'docker>=7,<8' || return 1
    done
}

# Each apart, as they need other versions of much that Salt needs. Their tests skip where one could not be made.
make_peers() {
    make_openstack openstack $openstack_queens || true
    make_openstack openstack-train $openstack_train || true
    make_once moto "$moto" || true
    make_once zuul-registry "$zuul" || true
    make_once sigstore "$sigstore" || true
    make_once axe $axe || true
}

make_openstack() {
    is_made "$@" && return
    (
        # The system's own first: the tests run it as another user, who may not see into root's home.
        find_python '(3, 9) <= sys.version_info < (3, 12)' /usr/bin/python3 python3.11 python3.10 python3.9 || {
            echo "test/run: no Python for the command line of OpenStack in .venv/$1; its tests will skip" >&2
            exit 1
        }
        before='setuptools<80 wheel pbr'
        make "$@"
    )
}

# make_with MINOR NAME PACKAGE…: an environment of Python 3.MINOR, where that is here.
make_with() {
    minor=$1
    shift
    find_python "sys.version_info[:2] == (3, $minor)" "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.$minor.*/bin/python3 ||
        return 1
    is_made "$@" || make "$@"
}

make_once() { is_made "$@" || (python=.venv/unit/bin/python && make "$@"); }

is_made() {
    made=.venv/$1/made-of
    shift
    [ "$(cat "$made" 2>/dev/null)" = "$*" ]
}

# make NAME PACKAGE…: an environment of $python. With $before set, that is installed first and what is built from
# source is built with it.
make() {
    name=$1
    shift
    echo "== making .venv/$name with $("$python" --version)"
    rm -rf ".venv/$name"
    mkdir -p .venv
    if make_empty && { [ -z "${before:-}" ] || pip_install $before; } &&
        pip_install ${before:+--no-build-isolation} "$@"; then
        echo "$*" >".venv/$name/made-of"
    else
        echo "test/run: .venv/$name could not be made: $(tail -n 1 ".venv/$name.log")" >&2
        return 1
    fi
}

make_empty() {
    if [ "$name" = unit ]; then
        "$python" -m venv .venv/unit >.venv/unit.log 2>&1 && in_background .venv/unit/bin/pip install -q "$pip"
    else
        "$python" -m venv --without-pip ".venv/$name" >".venv/$name.log" 2>&1
    fi
}

pip_install() { in_background .venv/unit/bin/pip --python ".venv/$name/bin/python" install -q "$@"; }

# Only `wait` lets a signal through.
in_background() {
    "$@" >>".venv/$name.log" 2>&1 &
    wait $!
}

# find_python CONDITION PROGRAM…: set $python to the first that can make environments.
find_python() {
    condition=$1
    shift
    for python; do
        "$python" -c "import sys, ensurepip, venv; sys.exit(not $condition)" 2>/dev/null && return
    done
    return 1
}

# install_system_packages TIER…
install_system_packages() {
    if command -v apt-get >/dev/null; then
        install_debian_packages "$@"
    elif command -v dnf >/dev/null; then
        install_fedora_packages
    else
        echo 'test/run: neither apt-get nor dnf here; tests will skip what they lack' >&2
    fi
}

install_debian_packages() {
    wanted=
    case $* in *functional*) wanted=$debian_functional ;; esac
    # A docker from elsewhere stays: the package would take its place.
    case $* in *functional*) command -v dockerd >/dev/null || wanted="$wanted docker.io" ;; esac
    case $* in *hosts*) wanted="$wanted $debian_hosts" ;; esac
    can_compile || wanted="$wanted $debian_compiler"
    missing=$(for package in $wanted; do debian_has $package || echo $package; done | sort -u)
    if [ -n "$missing" ]; then
        echo "== installing" $missing
        # A broken third-party source must not stand in the way of what is needed from the others.
        as_root apt-get update -qq || true
        apt_install $missing || { echo "test/run: apt-get could not install" $missing >&2 && exit 1; }
        stop_services_of $missing
    fi
    # Debian 13 has docker's command in a package of its own, which docker.io only recommends.
    case $* in *functional*) command -v docker >/dev/null || apt_install docker-cli ;; esac
}

can_compile() {
    command -v cc >/dev/null &&
        [ -e "$(.venv/unit/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null
}

# The services of packages that were just installed would stand in a test's way; what was here before stays as it is.
stop_services_of() {
    for package; do
        case $package in
            docker-registry | prometheus | prometheus-node-exporter) stop_service "$package" ;;
            nginx-light) stop_service nginx ;;
            docker.io) stop_service docker.socket && stop_service docker ;;
        esac
    done
}

stop_service() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --quiet --now "$1"
    elif [ -x "/etc/init.d/$1" ]; then
        as_root "/etc/init.d/$1" stop >/dev/null 2>&1 || true
    fi
}

# One by one: Enterprise Linux lacks some, and the tests that need those skip.
install_fedora_packages() {
    for package in $fedora_packages; do
        rpm -q --quiet --whatprovides "$package" && continue
        echo "== installing $package"
        as_root dnf install -q -y --setopt=install_weak_deps=False "$package" ||
            echo "test/run: no package $package here" >&2
    done
}

debian_has() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$'; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "test/run: needs root or sudo for: $*" >&2
        return 1
    fi
}

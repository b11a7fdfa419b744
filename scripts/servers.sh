#!/bin/sh
# What `make servers` does: installs the real servers that the tests meet. Run as often as you like.
# Debian and Ubuntu by apt; on other systems it says what is missing. Tests start their own, on free loopback ports:
# the services that the packages would start are stopped and disabled here.
set -eu

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
packages=""
command -v mosquitto >/dev/null || packages="$packages mosquitto"
command -v influxd >/dev/null || packages="$packages influxdb"
command -v nginx >/dev/null || packages="$packages nginx-light"
command -v prometheus-alertmanager >/dev/null || packages="$packages prometheus-alertmanager"
command -v chromium >/dev/null || packages="$packages chromium"
command -v mosquitto_sub >/dev/null || packages="$packages mosquitto-clients"
command -v strace >/dev/null || packages="$packages strace"
command -v faketime >/dev/null || packages="$packages faketime"
# The driver that steers Chromium (node inside the Playwright wheel) needs this library, which a bare system lacks.
ldconfig -p 2>/dev/null | grep -q 'libatomic\.so\.1' || packages="$packages libatomic1"
if [ ! -d /usr/share/fonts/opentype/noto ] || ! ls /usr/share/fonts/opentype/noto | grep -q CJK; then
    packages="$packages fonts-noto-cjk"
fi

if [ -z "$packages" ]; then
    echo "servers: mosquitto and its tools, influxd, nginx, alertmanager, chromium, strace, faketime and the CJK fonts are here already"
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "servers: this needs Debian's or Ubuntu's apt; missing here:$packages" >&2
    echo "servers: with the programs mosquitto, influxd (1.6 to 1.8), nginx and chromium on PATH the tests use those" >&2
    exit 1
fi

as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "servers: run this as root, or install sudo; missing here:$packages" >&2
        exit 1
    fi
    as_root="sudo"
fi

echo "servers: installing$packages"
# policy-rc.d keeps packages from starting their services while they are installed, where nobody else has put one.
policy=/usr/sbin/policy-rc.d
ours=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    ours=yes
fi
undo() {
    if [ -n "$ours" ]; then $as_root rm -f "$policy"; fi
}
trap undo EXIT
trap 'exit 1' INT TERM

install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
}
if ! install 2>/dev/null; then
    $as_root apt-get update -qq
    install
fi

if [ -d /run/systemd/system ]; then
    for service in mosquitto influxdb nginx prometheus-alertmanager; do
        case "$packages" in
        *"$service"*) $as_root systemctl disable --now --quiet "$service" || true ;;
        esac
    done
fi

for program in mosquitto mosquitto_sub influxd nginx prometheus-alertmanager chromium strace faketime; do
    command -v "$program" >/dev/null || { echo "servers: $program is still missing" >&2; exit 1; }
done
echo "servers: ready"

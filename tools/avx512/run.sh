#!/usr/bin/env bash
# Runs the AVX-512 kernels on a machine that has no AVX-512: boots a Debian kernel in the Bochs emulator, whose model of an
# Ice Lake has the whole instruction set (EVEX, VNNI), and runs the given programs there. The emulator's floating point is
# integer code of its own, so it is also an independent opinion on every rounding.
#
#   tools/avx512/run.sh                                known answers of every table, then the behaviour signature on each
#   tools/avx512/run.sh -p build/release/kernels_test 'kernels_test --gtest_filter=CanonicalGemm.*'
#   tools/avx512/run.sh -c corei7_skylake_x            AVX-512 without VNNI
#
#   -c MODEL     CPU model (`bochs -help cpu`); default corei7_icelake_u
#   -p PROGRAM   a program of this build to take along; may be given more than once; default build/release/bin/waggle
#   -t SECONDS   give up after this long; default 3600 (on an idle machine: a minute of boot, then some 100
#                times the native run time)
#   -k           keep the work folder and print its name
#
# Each further argument is one command line. Prints what the commands print, then each exit status; fails if one is not 0.
# Needs Debian packages (installs nothing itself):
#   bochs bochsbios vgabios        the emulator and its two firmwares
#   isolinux syslinux-common       boot loader of the CD image
#   xorriso                        writes the CD image
#   busybox-static                 shell of the guest
# and downloads, without installing, the package of Debian's kernel for virtual machines (27 MB, kept in build/avx512).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

model=corei7_icelake_u seconds=3600 keep=false programs=()
while getopts c:p:t:k option; do
  case "$option" in
    c) model=$OPTARG ;;
    p) programs+=("$OPTARG") ;;
    t) seconds=$OPTARG ;;
    k) keep=true ;;
    *) sed -n '2,16p' "$0"; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ ${#programs[@]} -gt 0 ] || programs=(build/release/bin/waggle)
if [ $# -eq 0 ]; then
  set -- "waggle kat" \
    "for isa in \$(waggle kat --list); do echo \$isa; waggle bench --signature --isa \$isa --threads 2 || exit 1; done"
fi

missing=""
for package in bochs bochsbios vgabios isolinux syslinux-common xorriso busybox-static; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=" $package"
done
[ -z "$missing" ] || { echo "needed Debian packages:$missing" >&2; exit 2; }

work=$(mktemp -d)
emulator=0
finish() {
  [ "$emulator" -eq 0 ] || kill -9 "$emulator" 2>/dev/null || true
  if $keep; then echo "work folder: $work"; else rm -rf "$work"; fi
}
trap finish EXIT

kernel() { # path of the kernel image, downloaded once
  local cache="$PWD/build/avx512" package
  if ! compgen -G "$cache/boot/vmlinuz-*" > /dev/null; then
    mkdir -p "$cache"
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
    (cd "$cache" && apt-get download -qq "$package" && dpkg-deb -x linux-image-*.deb . && rm -rf linux-image-*.deb lib usr etc) >&2
  fi
  compgen -G "$cache/boot/vmlinuz-*" | tail -n 1
}

# The guest: busybox, the programs with the libraries they load, the commands, and an init that runs them.
make_guest() { # folder
  local root=$1 program library applet
  shift
  mkdir -p "$root"/{bin,proc,dev,tmp}
  cp /bin/busybox "$root/bin/"
  for applet in sh mount echo cat grep printf dd sleep seq; do ln -s busybox "$root/bin/$applet"; done
  for program in "${programs[@]}"; do
    cp "$program" "$root/bin/"
    while read -r library; do
      mkdir -p "$root$(dirname "$library")"
      cp -L "$library" "$root$library"
    done < <(ldd "$program" | grep -o '/[^ ]*' | sort -u)
  done
  printf '%s\n' "$@" > "$root/commands"
  cat > "$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin HOME=/tmp TMPDIR=/tmp
mount -t proc none /proc
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
echo "begin"
while read -r line; do
  echo "> $line"
  sh -c "$line" < /dev/null
  echo "exit status $?"
done < /commands
echo "end"
# The emulator ends when this word reaches its power port, letter by letter.
for letter in S h u t d o w n; do printf $letter | dd of=/dev/port bs=1 seek=$((0x8900)) 2>/dev/null; done
sleep 1000
INIT
  chmod +x "$root/init"
}

# The emulator leaves some features of its models half done, or describes their state areas in a way that Linux refuses:
# the kernel is told to do without them. Switching ACPI on goes through system management mode, after which the Ice Lake
# model faults for ever. None of this touches arithmetic.
make_image() { # folder
  local image=$1 options
  options="console=ttyS0 earlyprintk=ttyS0 nokaslr nopcid noinvpcid nosmap nosmep nofsgsbase mitigations=off no_timer_check"
  options+=" lsm= acpi=off clearcpuid=pku,xsaves,xsavec,aperfmperf,umip,rdpid,fsrm"
  cp "$(kernel)" "$image/linux"
  cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$image/"
  (cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) > "$image/initrd"
  printf 'default guest\nprompt 0\nlabel guest\n kernel /linux\n append initrd=/initrd %s\n' "$options" > "$image/isolinux.cfg"
  xorriso -as mkisofs -quiet -o "$work/cd.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table \
    "$image" 2>/dev/null
}

make_guest "$work/root" "$@"
mkdir "$work/image"
make_image "$work/image"
cat > "$work/bochsrc" <<CONFIG
display_library: rfb, options="timeout=0"
plugin_ctrl: speaker=0, unmapped=1
cpu: model=$model, count=1, ips=100000000, ignore_bad_msrs=1
memory: guest=512, host=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
clock: sync=none
log: $work/log
panic: action=fatal
error: action=ignore
info: action=ignore
CONFIG
echo c > "$work/continue"  # Debian's build starts in its debugger

bochs -q -f "$work/bochsrc" -rc "$work/continue" > "$work/out" 2>&1 < /dev/null &
emulator=$!
for ((waited = 0; waited < seconds; waited += 2)); do
  sleep 2
  kill -0 "$emulator" 2>/dev/null || break
  if grep -qs '^end' "$work/serial"; then break; fi
done
tr -d '\r' < "$work/serial" | sed -n '/^begin/,/^end/p'
if ! grep -qs '^end' "$work/serial"; then
  echo "the guest did not come to its end; last words:" >&2
  tail -n 5 "$work/serial" "$work/log" >&2
  exit 1
fi
! tr -d '\r' < "$work/serial" | grep '^exit status' | grep -qv '^exit status 0$'

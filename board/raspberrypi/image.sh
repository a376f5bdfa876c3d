# shellcheck shell=bash
# What is different on a Raspberry Pi, sourced by board/common/post-image.sh: its firmware is the boot
# loader (rauc-tryboot), and the kernel is in a FAT partition beside the slot's root.
#
#   make_pi_boot DIR IMAGES   boot.vfat: firmware, kernel, device trees, one command line a slot
#   make_pi_esp DIR           esp.vfat: autoboot.txt, which says where to start

pi=${backrow:?}/board/raspberrypi

# The root of a slot, and which one it is; there is one try, so every start is the first. A root that does
# not come within a minute is a try that failed: no watchdog runs yet that would end a longer wait.
pi_cmdline() { # slot, PARTUUID
  printf 'root=PARTUUID=%s rootfstype=squashfs ro rootwait=60 panic=10 systemd.gpt_auto=0 rauc.slot=%s backrow.try=1 console=serial0,115200 console=tty1 quiet loglevel=4\n' \
    "$2" "$1"
}

make_pi_boot() {
  local dir=$1 images=$2 boot=$1/boot.vfat
  fat "$boot" 96M BOOT 42524f58 -F 32 -s 1
  pi_cmdline A 6261636b-726f-4777-a001-000000000002 >"$dir/cmdline-a.txt"
  pi_cmdline B 6261636b-726f-4777-a001-000000000003 >"$dir/cmdline-b.txt"
  export MTOOLS_SKIP_CHECK=1
  mcopy -s -i "$boot" "$images"/rpi-firmware/* ::/
  # The firmware's own examples of these give way to ours.
  mcopy -o -i "$boot" "$pi/config.txt" "$dir/cmdline-a.txt" "$dir/cmdline-b.txt" "$images/Image" "$images"/*.dtb ::/
}

make_pi_esp() {
  local esp=$1/esp.vfat
  fat "$esp" 64M BACKROW 42524f57 -F 32 -s 1
  MTOOLS_SKIP_CHECK=1 mcopy -i "$esp" "$pi/autoboot.txt" ::/
}

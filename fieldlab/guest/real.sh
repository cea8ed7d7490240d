# Real zbud pages before real readers, while zswap is using them.  SPDX-License-Identifier: MIT
. /guest/swap.sh
echo before > /sys/kernel/debug/witness/take
# pool pages of 72 bytes each: the pfn comes first
cat /sys/kernel/debug/witness/pool | od -A n -v -t u4 -w72 | awk '{print $1}' > /out/pfns
pool() { say "POOL $(cat /sys/kernel/debug/zswap/pool_total_size) bytes, $(cat /sys/kernel/debug/zswap/stored_pages) stored"; }
told() { say "PAGE $1 kpageflags $(ask read /proc/kpageflags $1) kpagecount $(ask read /proc/kpagecount $1)"; }
soft=$(sed -n 100p /out/pfns) hard=$(sed -n 200p /out/pfns)
pool
told $soft; told $hard
say "TRY soft_offline $soft: $(ask write $memory/soft_offline_page $((soft << 12)))"; told $soft
say "TRY compact: $(ask write /proc/sys/vm/compact_memory 1)"; told $soft
say "TRY offline_block 1: $(ask write $memory/memory1/state offline)"
page=$(dmesg | sed -n 's/.*page:.* pfn:\(0x[0-9a-f]*\).*/\1/p' | tail -n 1)
[ -n "$page" ] && say "STOPPED BY $page, on the pool's lists: $(grep -c "^$((page))\$" /out/pfns)"
say "TRY hard_offline $hard: $(ask write $memory/hard_offline_page $((hard << 12)))"; told $hard
say "$(grep HardwareCorrupted /proc/meminfo | tr -s ' ')"
say "TRY the owner ends: $(kill $filler && echo ok)"
sleep 1
pool
say "TRY swapoff: $(swapoff /dev/vda && echo ok)"
pool
told $soft; told $hard

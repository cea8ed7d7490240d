# One moment of a machine that swaps into zbud.  SPDX-License-Identifier: MIT
. /guest/swap.sh
texts="/proc/vmstat /proc/meminfo /proc/zoneinfo /proc/buddyinfo /proc/pagetypeinfo /proc/swaps"
texts="$texts $(ls /sys/kernel/debug/zswap/* /sys/module/zswap/parameters/*)"
moment /out $texts
for what in memmap changed pool pool_after handles; do
	cat /sys/kernel/debug/witness/$what > /out/$what
done
cat /proc/iomem > /out/proc-iomem
cat /proc/version > /out/proc-version
cat /proc/cmdline > /out/proc-cmdline

# One dressed page and one reader after the other, as /job/cells says.  SPDX-License-Identifier: MIT
insmod /modules/dress.ko
dress=/sys/kernel/debug/dress tracing=/sys/kernel/debug/tracing

# A page of a block of memory that can be taken away: such a block is plugged in when the machine starts.
case $(cat /job/cells) in *offline_block*)
	for block in $memory/memory3[2-9]; do
		[ "$(cat $block/state)" = offline ] && echo online_movable > $block/state
	done
esac

while read scheme reader; do
	say "CELL $scheme $reader"
	case $reader in compact_movable|offline_block) zone=movable;; *) zone=;; esac
	say "DRESSED $(ask write $dress/command "dress $scheme $zone")"
	set -- $(cat $dress/record)
	pfn=$1 address=$(printf 0x%x $(($1 << 12)))
	say "RECORD $*"
	case $reader in
	kpageflags|kpagecount|kpagecgroup) say "SAID $(ask read /proc/$reader $pfn)";;
	show_mem) say "SAID $(ask write /proc/sysrq-trigger m)";;
	soft_offline|hard_offline) say "SAID $(ask write $memory/${reader}_page $address)";;
	compact|compact_movable) # the scanner tells where it was, so that one can say whether it met the page
		echo 1 > $tracing/events/compaction/mm_compaction_isolate_migratepages/enable
		say "SAID $(ask write /proc/sys/vm/compact_memory 1)"
		say "VMSTAT $(grep -E '^compact_(migrate_scanned|free_scanned|isolated)' /proc/vmstat | tr '\n' ' ')"
		sed -n 's/.*range=(\(0x[0-9a-f]*\) ~ \(0x[0-9a-f]*\)).*/\1 \2/p' $tracing/trace |
			while read range; do say "SCANNED $range"; done;;
	offline_block) block=$memory/memory$((pfn >> 15))
		said=$(timeout -s KILL 5 ask write $block/state offline)
		say "SAID ${said:-no answer in 5 s}"
		say "STATE $(cat $block/state)";;
	free|free_drained|free_forced) say "SAID $(ask write $dress/command $reader)";;
	esac
	say "RECORD $(cat $dress/record)"
	case $reader in hard_offline|soft_offline|free*|offline_block)
		say "FLAGS $(ask read /proc/kpageflags $pfn)"
		say "$(grep HardwareCorrupted /proc/meminfo | tr -s ' ')";;
	esac
	say "DONE"
done < /job/cells

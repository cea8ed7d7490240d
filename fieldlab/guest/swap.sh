# Fill the memory until zswap has put some of it into zbud.  SPDX-License-Identifier: MIT
huge_zero_at=$(sed -n 's/ [a-zA-Z] huge_zero_pfn$//p' /proc/kallsyms)
insmod /modules/witness.ko $witness ${huge_zero_at:+huge_zero_at=0x$huge_zero_at}
mkswap /dev/vda > /dev/null
swapon /dev/vda
fill $fill_mib $back_mib > /out/fill &
filler=$!
for second in $(seq 120); do
	grep -q full /out/fill && break
	sleep 1
done
sleep 3
say "FILLED in $(cut -d' ' -f1 /proc/uptime) s of guest time"

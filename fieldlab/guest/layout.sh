# The kernel describes its own structures: that is all this boot is for.  SPDX-License-Identifier: MIT
cat /sys/kernel/btf/vmlinux > /out/btf
cat /proc/version > /out/version

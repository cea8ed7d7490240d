/* ask: put one question to the kernel and say the answer in a form that a program can read.
 *
 *   ask read FILE PFN     the 64-bit word of page PFN in FILE, one of /proc/kpage*
 *   ask write FILE TEXT   write TEXT; "ok", or the errno
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	uint64_t word = 0;
	int reads, file;

	if (argc != 4)
		return 2;
	reads = !strcmp(argv[1], "read");
	file = open(argv[2], reads ? O_RDONLY : O_WRONLY);
	if (file >= 0 && reads && pread(file, &word, 8, strtoul(argv[3], 0, 0) * 8) == 8) {
		printf("0x%llx\n", (unsigned long long)word);
		return 0;
	}
	if (file >= 0 && !reads && write(file, argv[3], strlen(argv[3])) >= 0) {
		puts("ok");
		return 0;
	}
	printf("errno %d\n", errno);
	return 1;
}

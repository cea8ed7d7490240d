/* fill: more anonymous memory than the machine has, so that some must be swapped out.
 *
 *   fill MIB BACK     fill MIB with pages that compress unequally well, give the last BACK MiB back, and stay
 *
 * Giving some back ends the shortage: kswapd comes to rest, and what it did can be looked at.  The pages are the same on
 * every run.  SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

static uint64_t state = 0x20130530;	/* the date of the question */

static uint32_t next(void)		/* a linear congruential generator: Knuth's constants, the upper half */
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return state >> 32;
}

/* Of each ten pages one is of a single byte, one is noise; the rest start with noise and go on with a single byte. */
static void fill_page(unsigned char *page)
{
	uint32_t kind = next() % 10;
	size_t i, noise = kind == 0 ? 0 : kind == 1 ? PAGE : 64 + next() % 3400;

	memset(page, 'a' + kind, PAGE);
	for (i = 0; i < noise / 4; i++)
		((uint32_t *)page)[i] = next();
}

int main(int argc, char **argv)
{
	size_t size, back, i;
	unsigned char *memory;

	if (argc != 3)
		return 2;
	size = strtoul(argv[1], 0, 0) << 20;
	back = strtoul(argv[2], 0, 0) << 20;
	memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || back > size)
		return 1;
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (i = 0; i < size; i += PAGE)
		fill_page(memory + i);
	madvise(memory + size - back, back, MADV_DONTNEED);
	puts("full");
	fflush(stdout);
	for (;;)
		pause();
}

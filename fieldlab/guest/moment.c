/* moment: what the kernel says of every page, between two copies of the memmap.
 *
 *   moment FOLDER FILE...     FILE...: texts to read in the same breath
 *
 * Looking changes what is looked at: a program that starts, or needs memory, brings pages back from swap.  So all memory
 * is taken and locked before the first look, nothing is printed or written until the last, and the process asks for the
 * processor above all others.  SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 65536
#define TEXTS 40
#define ROOM 65536

static char flags[PAGES * 8], count[PAGES * 8], text[TEXTS][ROOM];
static ssize_t size[TEXTS];

static ssize_t slurp(const char *path, char *to, ssize_t room)
{
	int file = open(path, O_RDONLY);
	ssize_t n, all = 0;

	while (file >= 0 && all < room && (n = read(file, to + all, room - all)) > 0)
		all += n;
	close(file);
	return all;
}

static void take(const char *which)
{
	int file = open("/sys/kernel/debug/witness/take", O_WRONLY);

	if (write(file, which, strlen(which)) < 0)
		perror("witness");
	close(file);
}

static void keep(const char *folder, const char *name, const char *from, ssize_t n)
{
	char path[256];
	int file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	for (char *c = path + strlen(folder) + 1; *c; c++)
		if (*c == '/')
			*c = '-';
	file = open(path, O_CREAT | O_WRONLY, 0600);
	if (write(file, from, n) != n)
		perror(path);
	close(file);
}

int main(int argc, char **argv)
{
	struct sched_param above_all = { .sched_priority = 1 };
	int i;

	if (argc < 2 || argc > TEXTS + 2 || mlockall(MCL_CURRENT | MCL_FUTURE))
		return 1;
	sched_setscheduler(0, SCHED_FIFO, &above_all);
	memset(flags, 1, sizeof(flags));
	memset(count, 1, sizeof(count));
	memset(text, 1, sizeof(text));
	usleep(500000);			/* what starting us has stirred up may settle */

	take("before");
	slurp("/proc/kpageflags", flags, sizeof(flags));
	slurp("/proc/kpagecount", count, sizeof(count));
	take("after");
	for (i = 2; i < argc; i++)
		size[i - 2] = slurp(argv[i], text[i - 2], ROOM);

	keep(argv[1], "kpageflags", flags, sizeof(flags));
	keep(argv[1], "kpagecount", count, sizeof(count));
	for (i = 2; i < argc; i++)
		keep(argv[1], argv[i] + 1, text[i - 2], size[i - 2]);
	return 0;
}

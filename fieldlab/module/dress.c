// SPDX-License-Identifier: GPL-2.0
/*
 * dress: a page of our own whose struct page we fill in as a scheme would, so that a real reader can be asked about it.
 *
 * In the debugfs folder "dress", the file "command" takes
 *
 *   dress NAME [movable]		a fresh page, dressed as the table below says; "movable": one that may be moved
 *   free, free_drained, free_forced	give it back as it is; _drained: and make the buddy lists take it now;
 *					_forced: the same, but its count is set to 1 first
 *
 * and "record" tells the pfn and the 64 bytes.  One page at a time; an earlier one stays as it was dressed.
 *
 * This does what no driver may do.  It belongs in a virtual machine that is thrown away.
 */
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/version.h>

enum part {
	CHUNKS	  = 1 << 0,	/* first_chunks and last_chunks, 16 bits each, where mapping is */
	BUDDY	  = 1 << 1,	/* the buddy list_head: its next where index is, its prev where private is */
	BUDDY_CNT = 1 << 2,	/* the same, but its prev over _mapcount and _refcount, as v12 had it */
	LRU	  = 1 << 3,	/* the lru list_head, a list of one */
	OFFSETS	  = 1 << 4,	/* all of v12's overlay at the byte offsets that it had in 3.10: 8, 16, 32 */
	RESERVED  = 1 << 5,
	SLAB	  = 1 << 6,
	PRIVATE	  = 1 << 7,
	OFFLINE	  = 1 << 8,	/* a page type that has an owner */
	NEW_TYPE  = 1 << 9,	/* a page type that nobody owns */
	MAPCOUNT  = 1 << 10,	/* _mapcount is `number` */
	COUNT	  = 1 << 11,	/* _refcount is `number` */
	MEMCG	  = 1 << 12,	/* a pointer in memcg_data: to itself */
	MEMCG_NUM = 1 << 13,	/* `number` in memcg_data: no pointer at all */
};
#define V12 (CHUNKS | BUDDY_CNT | LRU)
#define MOVED (CHUNKS | BUDDY | LRU)	/* an overlay that leaves both counts alone */

/* first_chunks modulo 4 is what a reader of mapping takes for its tag: 0 none, 1 anonymous, 2 movable, 3 KSM. */
static const struct costume {
	const char *name;
	unsigned int parts;
	unsigned int first_chunks;
	int number;
} costumes[] = {
	{ "plain" },
	{ "reserved", RESERVED },
	{ "slab", SLAB },
	{ "slab_chunks", SLAB | MOVED, 4 },
	{ "slab_odd", SLAB | MOVED, 5 },
	{ "slab_movable", SLAB | MOVED, 6 },
	{ "v12", V12, 4 },
	{ "v12_slab", V12 | SLAB, 4 },
	{ "v12_reserved", V12 | RESERVED, 4 },
	{ "v12_odd", V12, 5 },
	{ "v12_movable", V12, 6 },
	{ "v12_ksm", V12, 7 },
	{ "v12_offsets", OFFSETS, 4 },
	{ "v12_offsets_odd", OFFSETS, 5 },
	{ "chunks_even", CHUNKS, 4 },
	{ "chunks_odd", CHUNKS, 5 },
	{ "chunks_movable", CHUNKS, 6 },
	{ "chunks_ksm", CHUNKS, 7 },
	{ "private", PRIVATE },
	{ "lru_list", LRU },
	{ "type_offline", OFFLINE },
	{ "type_new", NEW_TYPE },
	{ "mapcount_m128", MAPCOUNT, 0, -128 },
	{ "mapcount_m256", MAPCOUNT, 0, -256 },
	{ "mapcount_m512", MAPCOUNT, 0, -512 },
	{ "count0", COUNT, 0, 0 },
	{ "memcg_data", MEMCG },
	{ "memcg_wild", MEMCG_NUM, 0, 0x80004 },
};

#define LAST_CHUNKS 8
#define OTHERS 4096	/* more pages than a per-cpu list keeps */
#define CHOICE 64

static struct page *page;

static void set_slab(struct page *p)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	__folio_set_slab(page_folio(p));	/* a page type by then */
#else
	__SetPageSlab(p);
#endif
}

static void set_new_type(struct page *p)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	p->page_type = 0xf8000000;		/* types are numbers in the top byte */
#else
	p->page_type &= ~0x00001000;		/* types are cleared bits */
#endif
}

/* v12's 48 bytes where 3.10 had them, whatever lies there now. */
static void set_offsets(struct page *p, unsigned long chunks)
{
	unsigned long *word = (unsigned long *)p;

	word[1] = chunks;
	word[2] = word[3] = (unsigned long)&word[2];
	word[4] = word[5] = (unsigned long)&word[4];
}

/* Flags come last: on 6.12 PG_slab is a page type, in the word of _mapcount, and must win over a list pointer. */
static void put_on(struct page *p, const struct costume *c)
{
	unsigned long chunks = c->first_chunks | LAST_CHUNKS << 16;
	unsigned long buddy = (unsigned long)&p->index;

	if (c->parts & CHUNKS)
		p->mapping = (void *)chunks;
	if (c->parts & (BUDDY | BUDDY_CNT))
		p->index = buddy;
	if (c->parts & BUDDY)
		p->private = buddy;
	if (c->parts & BUDDY_CNT) {
		atomic_set(&p->_mapcount, lower_32_bits(buddy));
		atomic_set(&p->_refcount, upper_32_bits(buddy));
	}
	if (c->parts & LRU)
		INIT_LIST_HEAD(&p->lru);
	if (c->parts & OFFSETS)
		set_offsets(p, chunks);
	if (c->parts & MAPCOUNT)
		atomic_set(&p->_mapcount, c->number);
	if (c->parts & COUNT)
		atomic_set(&p->_refcount, c->number);
	if (c->parts & MEMCG)
		p->memcg_data = (unsigned long)&p->memcg_data;
	if (c->parts & MEMCG_NUM)
		p->memcg_data = c->number;
	if (c->parts & PRIVATE) {
		SetPagePrivate(p);
		set_page_private(p, 0x5a5a);
	}
	if (c->parts & RESERVED)
		__SetPageReserved(p);
	if (c->parts & SLAB)
		set_slab(p);
	if (c->parts & OFFLINE)
		__SetPageOffline(p);
	if (c->parts & NEW_TYPE)
		set_new_type(p);
}

/* Of a few movable pages the lowest: the migrate scanner begins at the bottom of a zone and may not come far. */
static struct page *lowest_movable(void)
{
	struct page *pages[CHOICE], *lowest = NULL;
	int i, n;

	for (n = 0; n < CHOICE && (pages[n] = alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_ZERO)); n++)
		if (!lowest || pages[n] < lowest)
			lowest = pages[n];
	for (i = 0; i < n; i++)
		if (pages[i] != lowest)
			__free_page(pages[i]);
	return lowest;
}

static int dress(const char *name, bool movable)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(costumes); i++)
		if (!strcmp(name, costumes[i].name)) {
			page = movable ? lowest_movable() : alloc_page(GFP_KERNEL | __GFP_ZERO);
			if (!page)
				return -ENOMEM;
			put_on(page, &costumes[i]);
			return 0;
		}
	return -EINVAL;
}

/*
 * 6.1 looks at a page when it goes from the per-cpu list to the buddy lists.  So that ours does, it is followed by more
 * pages than the per-cpu list keeps; they are taken beforehand, and nobody can be given ours in between.
 */
static int free_drained(void)
{
	LIST_HEAD(others);
	struct page *p, *next;
	int i;

	for (i = 0; i < OTHERS && (p = alloc_page(GFP_KERNEL)); i++)
		list_add(&p->lru, &others);
	__free_page(page);
	list_for_each_entry_safe(p, next, &others, lru) {
		list_del(&p->lru);
		__free_page(p);
	}
	return 0;
}

static int perform(char *word)
{
	char *name = strsep(&word, " \n"), *costume = strsep(&word, " \n"), *zone = strsep(&word, " \n");

	if (!strcmp(name, "dress") && costume)
		return dress(costume, zone && !strcmp(zone, "movable"));
	if (!page)
		return -EINVAL;
	if (!strcmp(name, "free_drained"))
		return free_drained();
	if (!strcmp(name, "free_forced")) {
		set_page_count(page, 1);
		return free_drained();
	}
	if (strcmp(name, "free"))
		return -EINVAL;
	__free_page(page);
	return 0;
}

static ssize_t command_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char words[64] = "";
	int error;

	if (size >= sizeof(words))
		return -EINVAL;
	if (copy_from_user(words, from, size))
		return -EFAULT;
	error = perform(words);
	return error ? error : size;
}

static int record_show(struct seq_file *out, void *unused)
{
	if (page)
		seq_printf(out, "0x%lx %*phN\n", page_to_pfn(page), (int)sizeof(*page), page);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(record);

static const struct file_operations command_ops = { .owner = THIS_MODULE, .write = command_write };

static int __init dress_init(void)
{
	struct dentry *folder = debugfs_create_dir("dress", NULL);

	debugfs_create_file("command", 0200, folder, NULL, &command_ops);
	debugfs_create_file("record", 0400, folder, NULL, &record_fops);
	return 0;
}
module_init(dress_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("dresses a page for readers of the memmap to look at");

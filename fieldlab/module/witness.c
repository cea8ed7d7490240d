// SPDX-License-Identifier: GPL-2.0
/*
 * witness: which pages are zbud's, in truth, and what the memmap says at that moment.
 *
 * Two witnesses who do not know of each other are heard.
 *
 *   The pool.  The first call of zbud_zpool_map tells where struct zbud_pool lies.  Its lists are then walked, as zbud
 *   itself would walk them.  Where the lists lie in the struct is for the loader to say; the kernel's BTF has it.
 *
 *   The handles.  A handle is the address of an object.  zswap maps each object once to write it (zbud_zpool_map) and
 *   frees it when it dies (zbud_zpool_free), so a bit set by the one and cleared by the other says what is alive.
 *
 * In the debugfs folder "witness", writing "before" to "take" copies the memmap, the pool and the bits, interrupts off.
 * Writing "after" notes which records are not as they were then, and walks the pool again.  The files beside it have
 * it all.
 *
 * The copies must not look like what is looked for: a plain kernel page looks like zbud's.  So they lie in compound
 * pages, taken while there is room, and every reader can tell those.
 *
 * It only reads.  It belongs in a virtual machine with one processor: nothing but interrupts off keeps zbud still.
 */
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#define PAGES	65536		/* 256 MiB: the records that are copied */
#define FIRST_OFFSET 64		/* the object right behind the header; the other one ends with the page */

static unsigned int lists_at, lists, pages_nr_at;
module_param(lists_at, uint, 0);
MODULE_PARM_DESC(lists_at, "offset of unbuddied[] in struct zbud_pool");
module_param(lists, uint, 0);
MODULE_PARM_DESC(lists, "how many lists unbuddied[] has");
module_param(pages_nr_at, uint, 0);
MODULE_PARM_DESC(pages_nr_at, "offset of pages_nr in struct zbud_pool");
static unsigned long huge_zero_at;
module_param(huge_zero_at, ulong, 0);
MODULE_PARM_DESC(huge_zero_at, "address of the kernel's variable huge_zero_pfn");

struct pool_page {
	u32 pfn;
	u32 list;		/* which of unbuddied[] it is on: that many chunks are free */
	u8 header[64];
};

struct changed_page {
	u32 pfn;
	u8 record[sizeof(struct page)];
} __packed;

enum { MEMMAP, CHANGED, POOL, POOL_AFTER, HANDLES, COPIES };
static struct copy {
	const char *name;
	unsigned int order;	/* room for 2^order pages */
	struct debugfs_blob_wrapper blob;
} copies[COPIES] = {
	[MEMMAP] = { "memmap", 10 },
	[CHANGED] = { "changed", 9 },
	[POOL] = { "pool", 9 },
	[POOL_AFTER] = { "pool_after", 9 },
	[HANDLES] = { "handles", 4 },
};
#define ROOM(copy) (PAGE_SIZE << copies[copy].order)

static void *zbud_pool;

static void note(unsigned long handle, bool lives)
{
	unsigned long pfn = PHYS_PFN(__pa(handle));
	u8 bit = (handle & ~PAGE_MASK) == FIRST_OFFSET ? 1 : 2;
	u8 *alive = copies[HANDLES].blob.data;

	if (pfn < PAGES)
		alive[pfn] = lives ? alive[pfn] | bit : alive[pfn] & ~bit;
}

static int mapped(struct kprobe *probe, struct pt_regs *regs)
{
	zbud_pool = (void *)regs->di;
	note(regs->si, true);
	return 0;
}

static int freed(struct kprobe *probe, struct pt_regs *regs)
{
	note(regs->si, false);
	return 0;
}

static struct kprobe probes[] = {
	{ .symbol_name = "zbud_zpool_map", .pre_handler = mapped },
	{ .symbol_name = "zbud_zpool_free", .pre_handler = freed },
};

/*
 * The pages on the pool's lists; what links them is the first thing in each page.  A link that leads elsewhere ends the
 * walk: then BTF was misread, the counts do not agree, and that is noticed.
 */
static void walk(int copy)
{
	struct list_head *heads = zbud_pool + lists_at, *entry;
	struct pool_page *out = copies[copy].blob.data;
	unsigned long n = 0, most = ROOM(copy) / sizeof(*out);
	unsigned int i;

	for (i = 0; zbud_pool && i < lists; i++)
		for (entry = heads[i].next; entry != &heads[i] && n < most; entry = entry->next, n++) {
			if (!virt_addr_valid(entry) || offset_in_page(entry))
				goto out;
			out[n].pfn = page_to_pfn(virt_to_page(entry));
			out[n].list = i;
			memcpy(out[n].header, entry, sizeof(out[n].header));
		}
out:
	copies[copy].blob.size = n * sizeof(*out);
}

/* The records that are not as they were before. */
static void compare(void)
{
	struct page *before = copies[MEMMAP].blob.data, *now = pfn_to_page(0);
	struct changed_page *out = copies[CHANGED].blob.data;
	unsigned long i, n = 0, most = ROOM(CHANGED) / sizeof(*out);

	for (i = 0; i < PAGES && n < most; i++)
		if (memcmp(&before[i], &now[i], sizeof(*now))) {
			out[n].pfn = i;
			memcpy(out[n++].record, &now[i], sizeof(*now));
		}
	copies[CHANGED].blob.size = n * sizeof(*out);
}

static void take(bool after)
{
	unsigned long flags, pages_nr = 0, huge_zero_pfn = -1;

	local_irq_save(flags);
	if (after)
		compare();
	else
		memcpy(copies[MEMMAP].blob.data, pfn_to_page(0), PAGES * sizeof(struct page));
	walk(after ? POOL_AFTER : POOL);
	if (zbud_pool)
		memcpy(&pages_nr, zbud_pool + pages_nr_at, sizeof(pages_nr));
	local_irq_restore(flags);
	if (huge_zero_at)
		copy_from_kernel_nofault(&huge_zero_pfn, (void *)huge_zero_at, sizeof(huge_zero_pfn));
	pr_info("witness: %s: %lu pages on the pool's lists, pages_nr %lu, zero_pfn %ld, huge_zero_pfn %ld\n",
		after ? "after" : "before", copies[after ? POOL_AFTER : POOL].blob.size / sizeof(struct pool_page),
		pages_nr, page_to_pfn(ZERO_PAGE(0)), huge_zero_pfn);
}

static ssize_t take_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char word[8] = "";

	if (copy_from_user(word, from, min(size, sizeof(word) - 1)))
		return -EFAULT;
	take(word[0] == 'a');
	return size;
}

static const struct file_operations take_ops = { .owner = THIS_MODULE, .write = take_write };

static int __init witness_init(void)
{
	struct dentry *folder = debugfs_create_dir("witness", NULL);
	int i, error = 0;

	for (i = 0; i < COPIES; i++) {
		struct page *room = alloc_pages(GFP_KERNEL | __GFP_COMP | __GFP_ZERO, copies[i].order);

		if (!room)
			return -ENOMEM;	/* nothing is undone anywhere: the machine is thrown away */
		copies[i].blob.data = page_address(room);
		debugfs_create_blob(copies[i].name, 0400, folder, &copies[i].blob);
	}
	copies[MEMMAP].blob.size = PAGES * sizeof(struct page);
	copies[HANDLES].blob.size = PAGES;
	for (i = 0; i < ARRAY_SIZE(probes) && !error; i++)
		error = register_kprobe(&probes[i]);
	debugfs_create_file("take", 0200, folder, NULL, &take_ops);
	pr_info("witness: vmemmap_base 0x%lx page_offset_base 0x%lx sizeof(struct page) %zu\n",
		(unsigned long)pfn_to_page(0), (unsigned long)__va(0), sizeof(struct page));
	return error;
}
module_init(witness_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("says which pages are zbud's, and copies the memmap");

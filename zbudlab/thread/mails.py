"""The mails, as rows for `messages.Message`: facts from their headers, and paraphrases in our words.

Read in the archives of linux-kernel and linux-mm, as far as they could be read; `known` says of which that is not true.
`source` names the row of SOURCES that has the message-id.  A subject in parentheses is a description.  Times marked
`dated="id"` are computed from the message-id; where both are known they agree (git send-email counts up from as many
seconds before the id's as there are mails still to come).
"""

from __future__ import annotations

from typing import Any


def mail(**fields: Any) -> dict[str, Any]:
    """A row of the table."""
    return fields


ZBUD = "[PATCHv12 2/4] zbud: add to mm/"
RE = f"Re: {ZBUD}"

PATCH: list[dict[str, Any]] = [
    mail(
        key="jennings-v12",
        author="Seth Jennings",
        time="2013-05-20T11:26:06-05:00",
        subject=ZBUD,
        source="v12",
        in_reply_to="jennings-v12-cover",
        known="quoted",
        names=("zbud", "zcache", "struct page"),
        paraphrase="zbud keeps at most two compressed pages in a page frame, one against each wall, so that the rest "
        "is one hole, whichever goes first. It is the allocator out of zcache, made general; zswap is its user. It "
        "never holds fewer zpages than it takes pages. Its notes lie over the page's own descriptor, where PG_reclaim "
        "says that the page is being emptied.",
    ),
    mail(
        key="morton-overlay",
        author="Andrew Morton",
        time="2013-05-28T14:59:11-07:00",
        subject=RE,
        source="review",
        in_reply_to="jennings-v12",
        names=("struct page", "memory_failure", "E2BIG"),
        paraphrase="zbud writes over page descriptors that exist already: he asks in detail how and why, and why not "
        "by named members of a union in struct page. A descriptor must then be put back before the page is freed, so "
        "zbud has to follow every change of the core. What of code that goes through all descriptors on its own, "
        "perhaps memory_failure()? And E2BIG is about argument lists, not about sizes.",
    ),
    mail(
        key="jennings-why",
        author="Seth Jennings",
        time="2013-05-29T10:45:00-05:00",
        subject=RE,
        message_id="<20130529154500.GB428@cerebellum>",
        in_reply_to="morton-overlay",
        names=("struct page", "slab", "zsmalloc"),
        paraphrase="It is an overlay, and free_zbud_page() restores what lay beneath. A larger struct page would have "
        "met resistance, he thought, and zsmalloc does the same; members of a union are fine with him, though the "
        "reset stays: even slub and slob do one. The flag is needed because zswap may free a zpage while its page is "
        "reclaimed. Which error should say that a size is too large?",
    ),
    mail(
        key="morton-protocol",
        author="Andrew Morton",
        time="2013-05-29T11:34:34-07:00",
        subject=RE,
        message_id="<20130529113434.b2ced4cc1e66c7a0a520d908@linux-foundation.org>",
        in_reply_to="jennings-why",
        known="quoted",
        names=("struct page",),
        paraphrase="A change to struct page is the better way, and he wants to see it. He asks once more about code "
        "that walks the table; what it does may be fatal. ENOMEM has been used for sizes that are too large. A flag "
        "for reclaim is unusual, where a page's reference count is the protocol that everybody knows.",
    ),
    mail(
        key="jennings-ebusy",
        author="Seth Jennings",
        time="2013-05-29T15:42:36-05:00",
        subject=RE,
        message_id="<20130529204236.GD428@cerebellum>",
        in_reply_to="morton-protocol",
        names=("memory_failure", "slab", "_count"),
        paraphrase="He will write it with struct page, and look into memory_failure(): he expects that zbud's pages "
        "fare as slab pages in use do, with -EBUSY. A reference count looked like too much for what is only ever 1 or "
        "2, and there may be no room for one beside zbud's data. If it is wanted, he will do it.",
    ),
    mail(
        key="jennings-enomem",
        author="Seth Jennings",
        time="2013-05-29T15:45:03-05:00",
        subject=RE,
        message_id="<20130529204503.GE428@cerebellum>",
        in_reply_to="morton-protocol",
        paraphrase="On second thoughts, not ENOMEM: it says already that the pool could not grow. (v13 answers "
        "ENOSPC.)",
    ),
    mail(
        key="morton-memmap",
        author="Andrew Morton",
        time="2013-05-29T13:48:35-07:00",
        subject=RE,
        message_id="<20130529134835.58dd89774f47205da4a06202@linux-foundation.org>",
        in_reply_to="jennings-ebusy",
        names=("memmap[]", "memory_failure", "memory hotplug", "leak checkers", "bigphysarea"),
        paraphrase="memory_failure() was one instance of many. Whoever reads memmap[] takes its elements for what the "
        "array says they are: memory hotplug, leak checkers, patches outside the tree (bigphysarea, he half "
        "remembers). What is general wants a general answer.",
    ),
    mail(
        key="magenheimer-rule",
        author="Dan Magenheimer",
        time="2013-05-29T14:09:02-07:00",
        subject="RE: [PATCHv12 2/4] zbud: add to mm/",
        message_id="<754ae8a0-23af-4c87-953f-d608cba84191@default>",
        in_reply_to="morton-memmap",
        names=("mm.h comment", "_count", "free pages"),
        paraphrase="He turns it round: code that takes too much for granted about a descriptor is the code to mend. A "
        "comment in include/linux/mm.h has the rule: a page in use keeps a valid count, and its owner may use most of "
        "the rest privately, with care. Does he misread that, or does it need changing?",
    ),
    mail(
        key="morton-variant",
        author="Andrew Morton",
        time="2013-05-29T14:29:04-07:00",
        subject=RE,
        source="variant",
        in_reply_to="magenheimer-rule",
        names=("variant record", "PageReserved", "PageSlab", "slab", "four demands"),
        paraphrase="The array has an element type, and everybody may count on it. How readers handle the rule of the "
        "counts he cannot say; PageReserved should keep them off, at the price of bending what it means. This is a "
        "variant record with page.flags for its tag: reserved, slab's, or neither, and perhaps more. He asks for four "
        "things: a place in the definition, a documented tag, a demonstration of safety, no further flag.",
    ),
    mail(
        key="jennings-seed",
        author="Seth Jennings",
        time="2013-05-30T12:43:44-05:00",
        subject=RE,
        source="seed",
        in_reply_to="morton-variant",
        names=("_count", "_mapcount", "PageSlab", "shrink_slab", "memmap-peekers"),
        paraphrase="Where PG_slab is clear, _count tells free pages from used ones; so readers need flags and _count, "
        "and nothing else? He doubts that zbud can have a mark of its own without a flag, and offers two ways: let a "
        "predicate stand in for it (in use, not slab, mapped nowhere), or borrow PG_slab, which also says that "
        "_mapcount is not to be read. Slab takes no raw page from a reader that he has found, shrink_slab being the "
        "worst; so PG_slab over a positive _count should be safe. He asks for a second opinion.",
    ),
    mail(
        key="jennings-inline",
        author="Seth Jennings",
        time="2013-05-30T16:20:17-05:00",
        subject=RE,
        source="inline",
        in_reply_to="jennings-seed",
        names=("struct page",),
        paraphrase="Fitting zbud into struct page takes long and is risky, seeing who reads it. He would rather put "
        "the data into the page itself, in its first chunk, and so go round the question. For Gorman: a pool of two "
        "chunks a page is then pointless, since one is left.",
    ),
    mail(
        key="liu-slab",
        author="Bob Liu",
        time="2013-05-31T09:48:12+08:00",
        subject=RE,
        message_id="<51A8015C.6020402@oracle.com>",
        in_reply_to="jennings-inline",
        names=("slab",),
        paraphrase="Another way: let the pages be objects of a slab cache, PAGE_SIZE each, so that slab sees to nodes "
        "and sizes. zbud's data would be a small structure allocated apart, at little cost.",
    ),
    mail(
        key="wilk-questions",
        author="Konrad Rzeszutek Wilk",
        time="2013-06-03T09:48:43-04:00",
        subject=RE,
        message_id="<20130603134843.GO6893@phenom.dumpdata.com>",
        in_reply_to="jennings-seed",
        names=("shrink_slab", "_count"),
        paraphrase="Two questions about the borrowed PG_slab. Does shrink_slab fail as it should on a page that is "
        "none of slab's? And is it the positive _count that keeps readers off? (v13 came less than seven hours later "
        "and made both idle.)",
    ),
]

_SERIES = mail(group="series", in_reply_to="jennings-v12-cover", known="listed", dated="id")
_LIMIT = "Re: [PATCHv12 3/4] zswap: add to mm/"

SERIES: list[dict[str, Any]] = [
    mail(
        key="jennings-v12-cover",
        author="Seth Jennings",
        time="2013-05-20T11:26:04-05:00",
        subject="[PATCHv12 0/4] zswap: compressed swap caching",
        message_id="<1369067168-12291-1-...>",
        in_reply_to="",
        known="listed",
        group="series",
        dated="id",
        paraphrase="The cover of the twelfth posting of zswap: compressed pages instead of swapping out, with zbud to "
        "hold them.",
    ),
    mail(
        **_SERIES,
        key="jennings-v12-debugfs",
        author="Seth Jennings",
        time="2013-05-20T11:26:05-05:00",
        subject="[PATCHv12 1/4] (debugfs atomic helpers)",
        message_id="<1369067168-12291-2-...>",
        paraphrase="Helpers for atomic counters in debugfs.",
    ),
    mail(
        **_SERIES,
        key="jennings-v12-zswap",
        author="Seth Jennings",
        time="2013-05-20T11:26:07-05:00",
        subject="[PATCHv12 3/4] zswap: add to mm/",
        message_id="<1369067168-12291-4-...>",
        paraphrase="zswap itself, the user of zbud.",
    ),
    mail(
        **_SERIES,
        key="jennings-v12-doc",
        author="Seth Jennings",
        time="2013-05-20T11:26:08-05:00",
        subject="[PATCHv12 4/4] (documentation)",
        message_id="<1369067168-12291-5-...>",
        paraphrase="The documentation of zswap.",
    ),
    mail(
        key="wilk-ack",
        author="Konrad Rzeszutek Wilk",
        time="2013-05-29T13:42:11-04:00",
        subject="Re: [PATCHv12 1/4] (debugfs atomic helpers)",
        message_id="<20130529174211.GD9443@phenom.dumpdata.com>",
        in_reply_to="jennings-v12-debugfs",
        group="series",
        paraphrase="He acknowledges the helpers.",
    ),
    mail(
        key="morton-zswap",
        author="Andrew Morton",
        time="2013-05-28T14:59:18-07:00",
        subject=_LIMIT,
        message_id="<20130528145918.acbd84df00313e527cf04d1b@...>",
        in_reply_to="jennings-v12-zswap",
        group="series",
        paraphrase="Matters of style. A limit in per cent is too coarse on a machine with terabytes. Need the data "
        "cache be flushed, and may the callback at start-up run where nothing may sleep?",
    ),
    mail(
        key="jennings-zswap",
        author="Seth Jennings",
        time="2013-05-29T09:57:20-05:00",
        subject=_LIMIT,
        message_id="<20130529145720.GA428@cerebellum>",
        in_reply_to="morton-zswap",
        group="series",
        paraphrase="Agreed on style; the percentage is a stop-gap. No flush is needed, for these pages are never "
        "mapped to users, and the callback was put right in 3.10.",
    ),
    mail(
        key="morton-percent",
        author="Andrew Morton",
        time="2013-05-29T11:29:29-07:00",
        subject=_LIMIT,
        message_id="",
        in_reply_to="jennings-zswap",
        known="quoted",
        group="series",
        paraphrase="On what should replace the percentage.",
    ),
    mail(
        key="jennings-percent",
        author="Seth Jennings",
        time="2013-05-29T14:50:27-05:00",
        subject=_LIMIT,
        message_id="<20130529195027.GC428@cerebellum>",
        in_reply_to="morton-percent",
        group="series",
        paraphrase="On what should replace the percentage: parts per million, or bytes.",
    ),
    mail(
        key="morton-limit",
        author="Andrew Morton",
        time="2013-05-29T12:57:47-07:00",
        subject=_LIMIT,
        message_id="",
        in_reply_to="jennings-percent",
        known="quoted",
        group="series",
        paraphrase="On the same.",
    ),
    mail(
        key="jennings-limit",
        author="Seth Jennings",
        time="2013-05-29T16:08:20-05:00",
        subject=_LIMIT,
        message_id="<20130529210820.GF428@cerebellum>",
        in_reply_to="morton-limit",
        group="series",
        paraphrase="On the same.",
    ),
    mail(
        key="morton-bytes",
        author="Andrew Morton",
        time="2013-05-29T14:16:30-07:00",
        subject=_LIMIT,
        message_id="<20130529141630.8f2d1aa9b16d05e60e4a7ada@...>",
        in_reply_to="jennings-limit",
        group="series",
        paraphrase="On the same; the last word in this corner.",
    ),
]

_BEFORE = mail(group="before", in_reply_to="", subject="Re: [PATCHv11 2/4] zbud: add to mm/")

BEFORE: list[dict[str, Any]] = [
    mail(
        **_BEFORE,
        key="magenheimer-density",
        author="Dan Magenheimer",
        time="2013-05-13T08:43:36-07:00",
        message_id="<3dfa0c20-ab39-4839-aaeb-46d51314afd4@default>",
        paraphrase="Trying the newest page first is new against his own zbud. Where sizes are symmetric, or mostly "
        "fat, he expects fewer pairs and a lower density. The usual benchmarks will not show it, since most of their "
        "zpages are below half a page.",
    ),
    mail(
        **_BEFORE,
        key="gorman-fit",
        author="Mel Gorman",
        time="2013-05-17T16:48:37+01:00",
        message_id="<20130517154837.GN11497@suse.de>",
        names=("_count",),
        paraphrase="The number of chunks should not be fixed at build time. 'Buddy' is a misnomer for what is a set of "
        "free lists by size, searched first fit, and not best fit as it says. What bounds the pool? And the deferred "
        "free looks like a double free: why a page flag, where the page could be isolated?",
    ),
    mail(
        **_BEFORE,
        key="jennings-v11",
        author="Seth Jennings",
        time="2013-05-19T15:52:19-05:00",
        message_id="<20130519205219.GA3252@cerebellum>",
        paraphrase="He drops the exports, and the step that tries the newest page, whose benefit he cannot show. "
        "Isolating a page inside zbud does not keep the user from freeing it, so the flag stays.",
    ),
    mail(
        **_BEFORE,
        key="gorman-refcount",
        author="Mel Gorman",
        time="2013-05-20T14:54:39+01:00",
        message_id="<20130520135439.GR11497@suse.de>",
        names=("memory hotplug", "_count"),
        paraphrase="The allocator should own its limit, and listen to memory hotplug. He would rather see zpages "
        "counted by reference, but does not insist.",
    ),
    mail(
        **_BEFORE,
        key="jennings-sizes",
        author="Seth Jennings",
        time="2013-05-20T10:42:25-05:00",
        message_id="<20130520154225.GA25536@cerebellum>",
        paraphrase="How many chunks a page has does not change which sizes are taken. A very large one ends alone on "
        "the list of pages without a free chunk.",
    ),
    mail(
        **_BEFORE,
        key="gorman-lockstep",
        author="Mel Gorman",
        time="2013-05-21T09:10:20+01:00",
        message_id="<20130521081020.GT11497@suse.de>",
        paraphrase="Pages that compress to 15, 15 and 60 per cent are stored in lockstep; then pages of 80 per cent "
        "come. To store two of those costs four evicted zpages if a page has six chunks, three if it has two. He "
        "wants a boot parameter, as a way round when something has to be debugged.",
    ),
    mail(
        **_BEFORE,
        key="liu-io",
        author="Bob Liu",
        time="2013-05-23T10:00:07+08:00",
        dated="id",
        message_id="<519D7827.80607@oracle.com>",
        paraphrase="To write back a page of zbud's costs at most two pages of input and output.",
    ),
    mail(
        **_BEFORE,
        key="gorman-io",
        author="Mel Gorman",
        time="2013-05-23T10:52:15+01:00",
        message_id="<20130523095215.GV11497@suse.de>",
        paraphrase="On the same.",
    ),
]

AFTER: list[dict[str, Any]] = [
    mail(
        key="jennings-v13",
        author="Seth Jennings",
        time="2013-06-03T15:33:01-05:00",
        subject="[PATCHv13 0/4] (zswap)",
        source="v13",
        in_reply_to="",
        paraphrase="zbud's data has moved out of struct page into a header inside each page, so as to have no trouble "
        "with code, broken or not, that reads descriptors from the memmap.",
    ),
    mail(
        key="jennings-v13-zbud",
        author="Seth Jennings",
        time="2013-06-03T15:33:03-05:00",
        dated="id",
        known="quoted",
        subject="[PATCHv13 2/4] zbud: add to mm/",
        message_id="<1370291585-26102-3-...>",
        in_reply_to="jennings-v13",
        paraphrase="zbud with a header in the first chunk of each page. Its byte for a page under reclaim is not yet "
        "set when a page comes into the pool; that was mended on the way into 3.11.",
    ),
    mail(
        key="liu-v13",
        author="Bob Liu",
        time="2013-06-05T14:43:28+08:00",
        subject="Re: [PATCHv13 2/4] zbud: add to mm/",
        message_id="<51AEDE10.4010108@oracle.com>",
        in_reply_to="jennings-v13-zbud",
        paraphrase="A comment forgets one member of the header. A full pool could be noticed where a new page is "
        "about to be taken, and a reclaimed one be used instead. Otherwise content.",
    ),
    mail(
        key="jennings-full",
        author="Seth Jennings",
        time="2013-06-05T08:55:08-05:00",
        subject="Re: [PATCHv13 2/4] zbud: add to mm/",
        message_id="<20130605135508.GA25375@cerebellum>",
        in_reply_to="liu-v13",
        paraphrase="That is at the top of his list, but not in this set: zswap stores with preemption off, and "
        "evicting may sleep.",
    ),
    mail(
        key="shin-limit",
        author="Heesub Shin",
        time="2013-07-17T14:30:10+00:00",
        dated="id",
        subject="(the limit lowered by a chunk)",
        source="limit",
        in_reply_to="",
        paraphrase="A tenant that fills its page but for the header leaves no room for a second one, so the limit "
        "falls by a chunk, to 3968 bytes.",
    ),
    mail(
        key="kozlowski-flag",
        author="Krzysztof Kozlowski",
        time="2013-08-06T08:42:37+02:00",
        subject="(RFC 0/4: zbud pages reclaimable by reference count, and migratable)",
        message_id="<1375771361-8388-1-...>",
        in_reply_to="",
        names=("_count",),
        paraphrase="Pages of zbud's should be movable. But nothing about them says whose they are, so he tries a page "
        "flag PG_zbud, and hopes for something better. The page's own reference count takes the place of the byte for "
        "reclaim.",
    ),
    mail(
        key="hansen-alias",
        author="Dave Hansen",
        time="2013-08-06T09:58:29-07:00",
        subject="(on the page flag of zbud's own)",
        message_id="<52012B35.90801@intel.com>",
        in_reply_to="",
        names=("PageSlab",),
        paraphrase="Must the flag be zbud's alone? PG_zbud could be another name for PG_slab, with a cookie in a field "
        "beside it to tell the two apart.",
    ),
    mail(
        key="jennings-noflag",
        author="Seth Jennings",
        time="2013-08-06T13:57:59-05:00",
        subject="(on the page flag of zbud's own)",
        message_id="<20130806185759.GE5765@medulla.variantweb.net>",
        in_reply_to="",
        paraphrase="A page flag will not be accepted; it takes some other mark.",
    ),
    mail(
        key="kozlowski-mapcount",
        author="Krzysztof Kozlowski",
        time="2013-08-08T09:26:34+02:00",
        dated="id",
        subject="(on the page flag of zbud's own)",
        message_id="<1375946794.25843.1.camel@AMDC1943>",
        in_reply_to="",
        names=("_mapcount",),
        paraphrase="A value of _mapcount could be the mark, -129 say, in the way in which the page allocator marks its "
        "free blocks.",
    ),
    mail(
        key="kozlowski-127",
        author="Krzysztof Kozlowski",
        time="2013-08-09T12:22:16+02:00",
        subject="(RFC v2 0/4: the same with _mapcount)",
        message_id="<1376043740-10576-1-...>",
        in_reply_to="",
        names=("_mapcount",),
        paraphrase="The mark is _mapcount -127 now. To share PG_slab would have been the greater intrusion.",
    ),
    mail(
        key="kim-registry",
        author="Minchan Kim",
        time="2013-08-12T02:25:35+00:00",
        dated="id",
        known="quoted",
        subject="(on pages that are pinned)",
        message_id="<20130812022535.GA18832@bbox>",
        in_reply_to="",
        paraphrase="Not zbud alone has pages that cannot move: a registry of them, with a callback for each owner and "
        "a flag, would serve all.",
    ),
    mail(
        key="kozlowski-migrate",
        author="Krzysztof Kozlowski",
        time="2013-08-30T10:42:52+02:00",
        subject="(RFC 0/4: mm: migrate zbud pages)",
        message_id="<1377852176-30970-1-...>",
        in_reply_to="",
        paraphrase="Migration by way of page->mapping, with handles that lead through a table.",
    ),
    mail(
        key="kozlowski-v2",
        author="Krzysztof Kozlowski",
        time="2013-09-11T10:59:02+02:00",
        dated="id",
        subject="(PATCH v2 3/5: the mark of zbud's pages)",
        message_id="<1378889944-23192-4-...>",
        in_reply_to="",
        names=("_mapcount",),
        paraphrase="The same mark of -127 again, reviewed by Jennings. It was never merged; why the series came to "
        "rest we do not know.",
    ),
    mail(
        key="kozlowski-v3",
        author="Krzysztof Kozlowski",
        time="2013-10-08T15:29:34+02:00",
        dated="id",
        subject="(PATCH v3 0/6: the same)",
        message_id="<1381238980-2491-1-...>",
        in_reply_to="",
        names=("_mapcount",),
        paraphrase="The last posting that we know of.",
    ),
]

MAILS = PATCH + SERIES + BEFORE + [mail(group="after", **row) for row in AFTER]

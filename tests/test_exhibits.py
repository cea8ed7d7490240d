"""The exhibits: counted anew on what ships, and what they say of recordings that lack something."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from zbudlab import exhibits, kernel
from zbudlab.exhibits import Exhibit
from zbudlab.kernel import Recording
from zbudlab.rows import RecordingError

ALL = [getattr(exhibits, name) for name in exhibits.__all__ if name != "Exhibit"]
SHIPPED = pytest.mark.parametrize("name", kernel.releases())


def changed(name: str, **other: Any) -> Recording:
    """A shipped recording with other attributes."""
    r = copy.copy(kernel.load(name))
    for attribute, value in other.items():
        setattr(r, attribute, value)
    return r


@SHIPPED
@pytest.mark.parametrize("exhibit", ALL, ids=lambda exhibit: exhibit.__name__)
def test_each_is_there_in_what_ships(exhibit: Callable[..., Exhibit], name: str) -> None:
    found = exhibit(name)
    assert found and found.facts
    text = str(found).splitlines()
    assert text[0] == found.title and f"Linux {name}" in text[0]
    assert len(text) > len(found.facts) and repr(found) == str(found)


@SHIPPED
def test_they_are_what_the_field_lab_counted(name: str) -> None:
    r = kernel.load(name)
    told = r.exhibits
    found = exhibits.counts(r).facts
    assert found["pages with a live handle"] == told["counts"]["pages"]["with a live handle"]
    assert found["live handles"] == told["counts"]["objects"]["live handles"]
    assert (
        exhibits.twins(r).facts["others with the very 64 bytes of one of them"] == told["look_alikes"]["same_64_bytes"]
    )
    assert len(exhibits.stale_lru_next(r).pfns) == told["stale_lru_next"]["pages"]
    assert list(exhibits.anonymous_as_ksm(r).facts.values())[:2] == list(told["anonymous_as_ksm"].values())
    assert exhibits.stopped_an_offline(r).pfns == (told["real_pages"]["stopped_the_offline"]["pfn"],)


@SHIPPED
def test_three_witnesses_agree_exactly(name: str) -> None:
    pages, total, handles, chunks, stored, objects, agree = exhibits.counts(name).facts.values()
    assert pages == total == handles and chunks == stored == objects and agree == "exactly"


def test_witnesses_who_do_not_agree() -> None:
    figures = kernel.load("6.1").figures
    stored = "sys-kernel-debug-zswap-stored_pages"
    r = changed("6.1", figures=figures | {stored: str(int(figures[stored]) + 1)})
    assert exhibits.counts(r).facts["do they agree"] == "no"


@SHIPPED
def test_twins_have_the_same_64_bytes_and_one_of_them_is_not_zbuds(name: str) -> None:
    r = kernel.load(name)
    found = exhibits.twins(r)
    mine, other = found.pfns
    assert r.record(mine) == r.record(other) and mine in r.zbud_pfns and other not in r.zbud_pfns
    assert found.facts["of all these, kpageflags says"] == "nothing"
    words = str(found.facts["the record that most others share"]).split()
    assert b"".join(int(word, 16).to_bytes(8, "little") for word in words) == r.record(mine)


def test_a_stale_note() -> None:
    r = kernel.load("6.1")
    found = exhibits.stale_lru_next(r)
    assert r.record(found.pfns[0])[8:16] == (2).to_bytes(8, "little")
    assert found.facts["0x2"] == len(found.pfns) and sum(map(int, found.facts.values())) == len(r.zbud_pfns)


def test_more_than_a_million_mappings_are_half_a_pointer() -> None:
    cells = {c.scheme: c for c in kernel.load("6.1").cells if c.reader == "kpagecount"}
    facts = exhibits.mappings("6.1").facts
    assert facts["plain"] == "0" and str(facts["v12_slab"]).startswith("0; ")
    value = cells["v12"].value
    assert value is not None and value > 1_000_000
    assert facts["v12"] == (
        f"{value:,}; the word there is {0xFFFFEA00 << 32 | value - 1:#x}, and its lower half + 1 is {value:,}"
    )


def test_first_chunks_decide_between_silence_and_an_oops() -> None:
    facts = exhibits.first_chunks_modulo_4("6.1").facts
    assert facts["soft_offline"] == "4, 5, 7: EIO; 6: oops at 0x80004, in isolate_movable_page"
    assert facts["kpageflags"] == "4, 6: 0x0; 5: ANON; 7: ANON, KSM"
    assert "kpagecount" in str(facts["the same to all four"])


def test_a_reader_that_did_not_come_is_not_said_to_have_found_all_the_same() -> None:
    r = kernel.load("6.1")
    cells = [replace(c, met=False) if c.reader == "kpagecount" else c for c in r.cells]
    facts = exhibits.first_chunks_modulo_4(changed("6.1", cells=cells)).facts
    assert "kpagecount" not in str(facts["the same to all four"])
    assert "kpagecount" in str(facts["did not come to the page"])


@SHIPPED
def test_the_page_that_stopped_a_memory_offline_was_zbuds(name: str) -> None:
    facts = exhibits.stopped_an_offline(name).facts
    assert (facts["soft_offline"], facts["offline_block"], facts["hard_offline"]) == ("EIO", "EBUSY", "EBUSY")
    assert str(facts["the page that stopped the offline"]).endswith("on the lists of zbud's pool")
    assert facts["in the end, the page of soft_offline is"] == "BUDDY"
    assert facts["in the end, the page of hard_offline is"] == "HWPOISON"


def test_a_page_that_stopped_it_and_was_another() -> None:
    story = {"stopped_the_offline": {"pfn": 7, "zbud": False}, "log": ["fieldlab: TRY soft_offline 7: errno 5"]}
    facts = exhibits.stopped_an_offline(changed("6.1", exhibits={"real_pages": story})).facts
    assert facts["the page that stopped the offline"] == "0x7, not zbud's"
    assert facts["zbud pages of the recorded memmap that have it"] == 0


def test_every_anonymous_page_is_ksms_to_6_12_and_none_to_6_1() -> None:
    said, ksm, slabs, merged = exhibits.anonymous_as_ksm("6.12").facts.values()
    assert isinstance(said, int) and said == ksm and said > 20_000 and merged == 0 and 0 < int(slabs) < 1000
    said, ksm, slabs, merged = exhibits.anonymous_as_ksm("6.1").facts.values()
    assert said != ksm == slabs == merged == 0


LACKS: dict[Callable[..., Exhibit], tuple[dict[str, Any], str]] = {
    exhibits.counts: ({"figures": {}}, "no figures of zswap"),
    exhibits.twins: ({"zbud_pfns": []}, "no other page has the record"),
    exhibits.stale_lru_next: ({"zbud_pfns": []}, "in none of them"),
    exhibits.mappings: ({"cells": []}, "no answer of kpagecount"),
    exhibits.first_chunks_modulo_4: ({"cells": []}, "no reader that came to all four"),
    exhibits.stopped_an_offline: ({"exhibits": {}}, "does not tell of a page"),
    exhibits.anonymous_as_ksm: ({"kpageflags": kernel.words(bytes(8 * 65536))}, "no page is anonymous"),
}


@pytest.mark.parametrize("exhibit", ALL, ids=lambda exhibit: exhibit.__name__)
def test_a_recording_that_lacks_something_is_told(exhibit: Callable[..., Exhibit]) -> None:
    other, words = LACKS[exhibit]
    found = exhibit(changed("6.1", **other))
    assert not found and words in found.why and not found.facts
    assert str(found) == f"{found.title}: {found.why}" and len(str(found).splitlines()) == 1


def test_what_is_no_recording_is_refused_as_the_loader_refuses_it() -> None:
    with pytest.raises(RecordingError, match="neither a recorded release"):
        exhibits.counts("2.6")

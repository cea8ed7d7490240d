"""The field lab's parts that need no virtual machine: archives, logs, layouts, packages, the way into a recording."""

import doctest
import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from fieldlab import __main__ as lab
from fieldlab import boot, btf, build, cells, packages, record
from zbudlab import kernel

ROOT = Path(__file__).resolve().parent.parent
PLAIN = "000000c0ffff0f000000000000000000220100000000adde" + "00" * 24 + "ffffffff01000000" + "00" * 8


@pytest.mark.parametrize("module", [build, cells, packages])
def test_examples_in_docstrings(module: Any) -> None:
    done = doctest.testmod(module)
    assert done.attempted
    assert not done.failed


# Archives


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """A newc archive taken apart, by the rules of the format and nothing of ours."""
    files, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + length - 1].decode()
        at += (110 + length + 3) & ~3
        content = archive[at : at + size]
        at += (size + 3) & ~3
        if name == "TRAILER!!!":
            assert at == len(archive)
            return files
        files[name] = (mode, content)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 4097])
def test_an_archive_can_be_taken_apart_again(size: int) -> None:
    files = {"a": (0o40755, b""), "a/bc": (0o100644, b"x" * size), "a/d": (0o100755, b"end")}
    assert unpacked(build.cpio(files)) == files


def test_a_job_is_settings_for_a_shell_and_cells() -> None:
    files = unpacked(gzip.decompress(build.job({"job": "cells", "witness": "lists_at=8 lists=63"}, "v12 free\n")))
    assert files["job/settings"][1] == b"job='cells'\nwitness='lists_at=8 lists=63'\n"
    assert files["job/cells"][1] == b"v12 free\n"


def test_the_guest_gets_programs_scripts_and_modules(tmp_path: Path) -> None:
    import lzma

    tree, made = tmp_path / "tree", tmp_path / "build"
    for path, content in [
        (tree / "bin/busybox", b"busybox"),
        (tree / "lib/modules/6/drivers/block/virtio_blk.ko.xz", lzma.compress(b"packed module")),
        (made / "module/witness.ko", b"our module"),
        *((made / program, b"program") for program in build.PROGRAMS),
    ]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    files = unpacked(gzip.decompress(build.initramfs(tree, made)))
    assert files["bin/busybox"] == (0o100755, b"busybox")
    assert files["modules/virtio_blk.ko"][1] == b"packed module"
    assert files["modules/witness.ko"][1] == b"our module"
    assert files["init"][0] == 0o100755
    assert {"guest/cells.sh", "guest/moment.sh", "bin/ask", "proc", "job"} <= set(files)
    assert files["proc"] == (0o40755, b"")


# Packages


def test_what_apt_says_of_a_package() -> None:
    stanza = (
        "Package: linux-headers-6.1.0-56-amd64\nVersion: 6.1.192-2\nSize: 1841552\nSHA256: ab12\n"
        "Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-image-a (= 6) | linux-image-b (= 6), gcc-12\n"
        "Description: Headers\n Depends: not this\n\nPackage: older\n"
    )
    assert packages.described(stanza) == packages.Package(
        "linux-headers-6.1.0-56-amd64",
        "6.1.192-2",
        1841552,
        "ab12",
        ("linux-headers-6.1.0-56-common", "linux-image-a", "gcc-12"),
    )


def test_a_release_that_apt_does_not_have() -> None:
    with pytest.raises(packages.Trouble, match=r"no generic 6\.12 kernel"):
        packages.newest("6.12", ["linux-image-6.12.100+deb12-cloud-amd64", "linux-image-6.1.0-56-amd64"])


def test_all_that_is_fetched_comes_from_what_packages_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {
        "linux-image-6.1.0-9-amd64": "kmod, linux-base",
        "linux-headers-6.1.0-9-amd64": "linux-headers-6.1.0-9-common (= 1), linux-kbuild-6.1, gcc-12",
        "busybox-static": "",
        "linux-headers-6.1.0-9-common": "",
        "linux-kbuild-6.1": "libc6",
    }

    def apt(*command: str) -> str:
        if command[1] == "pkgnames":
            return "\n".join(needs)
        return f"Package: {command[-1]}\nVersion: 1\nSize: 5\nSHA256: 0\nDepends: {needs[command[-1]]}\n"

    monkeypatch.setattr(packages, "output", apt)
    assert [p.name for p in packages.plan("6.1")] == list(needs)


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x_1_all.deb"
    file.write_bytes(b"content")
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: pytest.fail("something was fetched"))
    assert packages.fetch([packages.Package("x", "1", 7, digest, ())], tmp_path) == [file]


# Boots


@pytest.mark.slow
def test_a_command_that_hangs_is_ended_by_the_watchdog(tmp_path: Path) -> None:
    start = time.monotonic()
    with (tmp_path / "log").open("wb") as log:
        assert boot.watch(
            [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"], log.fileno(), 2
        )
        assert not boot.watch([sys.executable, "-c", "print('done')"], log.fileno(), 60)
    assert time.monotonic() - start < 50
    assert (tmp_path / "log").read_text().split()[-1] == "done"


def test_what_a_guest_hands_over(tmp_path: Path) -> None:
    disk = tmp_path / "out.disk"
    disk.write_bytes(bytes(4096))
    assert boot.handed_over(disk) == {}
    with tarfile.open(disk, "w") as tar:
        member = tarfile.TarInfo("./btf")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    with disk.open("ab") as file:
        file.write(bytes(8192))
    assert boot.handed_over(disk) == {"btf": b"abc"}


class Guest(boot.Machine):
    """A machine without QEMU: each boot's log is the next of a list; what it was given to do is noted."""

    def __init__(self, folder: Path, *logs: str, hung: bool = False) -> None:
        super().__init__(folder / "vmlinuz", b"", folder)
        self.logs, self.jobs, self.hung = list(logs), [], hung  # type: ignore[var-annotated]

    def boot(self, job: bytes, *, seconds: float = 120, mib: int = 256, dimm: bool = False) -> boot.Boot:
        self.boots += 1
        self.jobs.append((unpacked(gzip.decompress(job))["job/cells"][1].decode().split("\n")[:-1], dimm))
        log = self.logs.pop(0)
        return boot.Boot(log, ended="fieldlab: END" in log, hung=self.hung)


def test_a_boot_that_fails_says_where_its_log_is(tmp_path: Path) -> None:
    with pytest.raises(
        packages.Trouble, match=r"for the memmap stopped early; its log is .*boot-001\.log(.|\n)*the end"
    ):
        Guest(tmp_path, "[ 1.0] the end\n").must(build.job({"job": "moment"}), "the memmap")
    with pytest.raises(packages.Trouble, match=r"did not end within 5 s"):
        Guest(tmp_path, "", hung=True).must(build.job({"job": "moment"}), "the memmap", seconds=5)


@pytest.mark.parametrize(
    ("accelerator", "words"), [("kvm", ["-accel", "kvm"]), ("tcg", ["-accel", "tcg,thread=single"])]
)
def test_the_command_line_of_a_guest(tmp_path: Path, accelerator: str, words: list[str]) -> None:
    command = boot.Machine(tmp_path / "vmlinuz", b"", tmp_path, accelerator).command(256, dimm=False)
    at = command.index("-accel")
    assert command[at : at + 2] == words
    assert {"-no-reboot", "-smp", "256M"} <= set(command)
    assert "nokaslr" in command[-1] and "zswap.zpool=zbud" in command[-1]
    assert "memhp" not in command[-1]
    plugged = boot.Machine(tmp_path, b"", tmp_path).command(256, dimm=True)
    assert "pc-dimm,id=d1,memdev=m1" in plugged and plugged[-1].endswith(" memhp_default_state=offline")


# Logs


def log(*lines: str) -> str:
    return "".join(f"[    {i}.{i:06}] {line}\n" for i, line in enumerate(lines))


def told(scheme: str, reader: str, *lines: str, done: bool = True, record: str = PLAIN) -> list[str]:
    begin = [f"fieldlab: CELL {scheme} {reader}", "fieldlab: DRESSED ok", f"fieldlab: RECORD 0x645f {record}"]
    return [*begin, *lines, *([f"fieldlab: RECORD 0x645f {record}", "fieldlab: DONE"] if done else [])]


END = ["fieldlab: END cells"]
OOPS = [
    "BUG: unable to handle page fault for address: 0000000000080004",
    "#PF: supervisor read access in kernel mode",
    "RIP: 0010:isolate_movable_page+0x6a/0x150",
    "Call Trace:",
    " <TASK>",
    " ? terminate_walk+0xee/0x100",
    " soft_offline_page+0x714/0xb00",
    "RIP: 0033:0x438390",
    "Kernel panic - not syncing: Fatal exception",
]


def answers(*lines: str, hung: bool = False) -> list[cells.Cell]:
    return cells.answers(boot.Boot("SeaBIOS\n" + log(*lines), hung=hung))


def test_a_value_and_an_errno_are_read_out_of_the_log() -> None:
    flags, soft = answers(
        "virtio_blk virtio0: 1/0/0 queues",
        *told("v12", "kpagecount", "fieldlab: SAID 0x1915a1"),
        *told("plain", "soft_offline", "Memory failure: 0x645f: unhandlable page.", "fieldlab: SAID errno 5"),
        *END,
    )
    assert flags == {
        "scheme": "v12", "reader": "kpagecount", "pfn": 0x645F, "before": PLAIN, "after": PLAIN, "value": 0x1915A1,
    }  # fmt: skip
    assert soft["errno"] == 5 and soft["log"] == ["Memory failure: 0x645f: unhandlable page."]


def test_everything_else_that_a_cell_says() -> None:
    (cell,) = answers(
        *told(
            "plain",
            "offline_block",
            "fieldlab: SAID ok",
            "fieldlab: FLAGS 0x80000",
            "fieldlab: HardwareCorrupted: 4 kB",
            "fieldlab: STATE online",
            "fieldlab: VMSTAT compact_migrate_scanned 12 compact_isolated 0 ",
        ),
        *END,
    )
    expected = {"errno": 0, "flags_after": 0x80000, "poisoned_kb": 4, "state": "online"}
    assert expected.items() <= cell.items()
    assert cell["counters"] == {"compact_migrate_scanned": 12, "compact_isolated": 0}


@pytest.mark.parametrize(("end", "met"), [("0x645f", False), ("0x6460", True)])
def test_whether_the_scanner_came_to_the_page(end: str, met: bool) -> None:
    lines = ["VMSTAT compact_isolated 3 ", "SCANNED 0x1000 0x1200", f"SCANNED 0x6400 {end}"]
    (cell,) = answers(*told("plain", "compact", "fieldlab: SAID ok", *(f"fieldlab: {line}" for line in lines)), *END)
    assert cell["met"] is met


def test_an_oops_is_an_answer_with_the_telling_lines_of_its_log() -> None:
    (cell,) = answers(*told("chunks_movable", "soft_offline", *OOPS, done=False))
    assert cell["oops"] == {"what": OOPS[0], "address": 0x80004, "function": "isolate_movable_page"}
    assert "after" not in cell and "errno" not in cell
    assert cell["log"] == [OOPS[0], OOPS[1], OOPS[2], OOPS[3], OOPS[6]]


def test_an_oops_of_our_own_making_is_not_the_readers() -> None:
    lines = ["fieldlab: SAID errno 16", f"fieldlab: RECORD 0x645f {PLAIN}", *OOPS]
    (cell,) = answers(*told("v12_offsets_odd", "offline_block", *lines, done=False))
    assert cell["errno"] == 16 and cell["after"] == PLAIN and "oops" not in cell


def test_an_oops_before_the_second_look_is_kept_beside_the_answer() -> None:
    (cell,) = answers(*told("memcg_data", "free", "fieldlab: SAID ok", *OOPS, done=False))
    assert cell["errno"] == 0 and cell["oops"]["function"] == "isolate_movable_page" and "after" not in cell


def test_a_kernel_bug_has_no_address() -> None:
    lines = ["kernel BUG at lib/list_debug.c:49!", "RIP: 0010:__list_del_entry_valid.cold+0xf/0x6f"]
    (cell,) = answers(*told("mapcount_m256", "compact", *lines, done=False))
    assert cell["oops"] == {"what": lines[0], "address": None, "function": "__list_del_entry_valid.cold"}


def test_a_bad_page_is_not_the_end_of_a_kernel() -> None:
    lines = ["BUG: Bad page state in process ask  pfn:0645f", "page dumped because: non-NULL mapping"]
    (cell,) = answers(*told("chunks_even", "free_drained", *lines, "fieldlab: SAID ok"), *END)
    assert "oops" not in cell and cell["log"] == lines


def test_a_cell_that_breaks_off_without_a_reason_is_no_answer_unless_it_hung() -> None:
    cut = told("plain", "compact", done=False)
    assert answers(*cut) == []
    (cell,) = answers(*cut, hung=True)
    assert not {"oops", "errno", "value", "after"} & set(cell)


def test_a_page_that_was_never_dressed_is_no_cell() -> None:
    assert answers("fieldlab: CELL nonsense free", "fieldlab: DRESSED errno 22", "fieldlab: RECORD", *END) == []


def test_an_oops_ends_a_boot_and_the_next_one_goes_on_behind_it(tmp_path: Path) -> None:
    fine = told("plain", "kpageflags", "fieldlab: SAID 0x0")
    died = told("v12", "kpageflags", *OOPS, done=False)
    last = told("slab", "kpageflags", "fieldlab: SAID 0x80")
    guest = Guest(tmp_path, log(*fine, *died), log(*last, *END), log(*told("v12", "free", "fieldlab: SAID ok"), *END))
    wanted = [("plain", "kpageflags"), ("v12", "kpageflags"), ("slab", "kpageflags"), ("v12", "free")]
    said: list[str] = []
    found = cells.ask(guest, wanted, tmp_path / "cells.jsonl", said.append)
    assert [(c["scheme"], c["reader"]) for c in found] == wanted
    assert [jobs for jobs, _ in guest.jobs] == [
        ["plain kpageflags", "v12 kpageflags", "slab kpageflags"],
        ["slab kpageflags"],
        ["v12 free"],
    ]
    assert "the kernel ended in isolate_movable_page" in said[0] and "4 of 4 cells" in said[-1]
    assert cells.ask(Guest(tmp_path), wanted, tmp_path / "cells.jsonl", said.append) == found  # nothing is asked twice


def test_a_cell_that_cannot_be_had_is_told_and_left_out(tmp_path: Path) -> None:
    guest = Guest(tmp_path, "", "", log(*told("slab", "offline_block", "fieldlab: SAID errno 16"), *END))
    said: list[str] = []
    wanted = [("plain", "offline_block"), ("slab", "offline_block")]
    (cell,) = cells.ask(guest, wanted, tmp_path / "cells.jsonl", said.append)
    assert cell["scheme"] == "slab" and all(dimm for _, dimm in guest.jobs)
    assert any("left out: offline_block of plain" in line for line in said)


def test_a_cell_left_out_in_the_middle_of_a_boot_is_asked_for_again(tmp_path: Path) -> None:
    undressed = ["fieldlab: CELL v12 kpagecount", "fieldlab: DRESSED errno 12", "fieldlab: DONE"]
    plain, slab = (told(scheme, "kpagecount", "fieldlab: SAID 0x0") for scheme in ("plain", "slab"))
    guest = Guest(tmp_path, log(*plain, *undressed, *slab, *END), log(*told("v12", "kpagecount", "fieldlab: SAID 0x1")))
    wanted = [("plain", "kpagecount"), ("v12", "kpagecount"), ("slab", "kpagecount")]
    assert len(cells.ask(guest, wanted, tmp_path / "cells.jsonl", lambda text: None)) == 3
    assert [jobs for jobs, _ in guest.jobs][1] == ["v12 kpagecount"]


def test_the_whole_and_the_quick_list() -> None:
    whole = cells.everything()
    assert len(whole) == len(set(whole)) == len(cells.SCHEMES) * len(cells.READERS) == 28 * 12
    assert set(cells.QUICK) < set(whole)
    dresses = (ROOT / "fieldlab/module/dress.c").read_text()
    asked = (ROOT / "fieldlab/guest/cells.sh").read_text()
    assert all(f'"{scheme}"' in dresses for scheme in cells.SCHEMES)
    assert all(reader in asked or reader.rsplit("_", 1)[0] in asked for reader in cells.READERS)


# Layouts


def tiny_btf() -> bytes:
    """struct pair {int a; union {long b; char c[2]; }; int bits : 3;} and enum colour {RED, BLUE = 5}, by hand."""
    names = b"\0int\0long\0char\0pair\0a\0b\0c\0bits\0colour\0RED\0BLUE\0"

    def name(word: str) -> int:
        return names.index(b"\0" + word.encode() + b"\0") + 1 if word else 0

    def one(word: str, kind: int, size: int, *parts: int, n: int = 0, flag: int = 0) -> bytes:
        return struct.pack(f"<{3 + len(parts)}I", name(word), flag << 31 | kind << 24 | n, size, *parts)

    types = one("int", 1, 4, 32) + one("long", 1, 8, 64) + one("char", 1, 1, 8)  # 1, 2, 3
    types += one("", 3, 0, 3, 1, 2)  # 4: char[2]
    types += one("", 5, 8, name("b"), 2, 0, name("c"), 4, 0, n=2)  # 5: the union
    types += one("pair", 4, 24, name("a"), 1, 0, 0, 5, 64, name("bits"), 1, 3 << 24 | 130, n=3, flag=1)
    types += one("colour", 6, 4, name("RED"), 0, name("BLUE"), 5, n=2)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names)) + types + names


def test_a_layout_with_a_union_and_bits() -> None:
    types = btf.Btf(tiny_btf())
    assert types.struct("pair") == {
        "size": 24,
        "members": [
            {"name": "a", "offset": 0, "size": 4, "type": "int"},
            {"name": "b", "offset": 8, "size": 8, "type": "long"},
            {"name": "c", "offset": 8, "size": 2, "type": "char[2]"},
            {"name": "bits", "offset": 16, "size": 4, "type": "int", "bits": [2, 3]},
        ],
    }
    assert types.enum("colour") == {"RED": 0, "BLUE": 5}
    with pytest.raises(KeyError, match="no 'zbud_pool'"):
        types.struct("zbud_pool")
    with pytest.raises(ValueError, match="no little-endian BTF"):
        btf.Btf(b"\x7fELF")


# Into a recording


def test_the_exhibits_of_the_shipped_recordings_are_what_their_parts_say() -> None:
    for name in kernel.releases():
        r = kernel.load(name)
        real = boot.Boot("fieldlab: FILLED\n")
        again = record.exhibits(r, real) | {"real_pages": r.exhibits["real_pages"]}
        assert json.loads(json.dumps(again)) == r.exhibits


def test_whether_the_pool_stood_still() -> None:
    assert record.still(boot.Boot("", {"pool": b"ab", "pool_after": b"ab"}))
    assert not record.still(boot.Boot("", {"pool": b"ab", "pool_after": b"ac"}))


def test_the_story_of_the_real_pages() -> None:
    lines = ["fieldlab: FILLED in 9 s", "page dumped because: unmovable page", "reboot: Power down"]
    text = log("early", lines[0], "fieldlab: STOPPED BY 0xfe28, on the pool's lists: 1", *lines[1:])
    story = record.real_pages(boot.Boot(text))
    assert story["stopped_the_offline"] == {"pfn": 0xFE28, "zbud": True}
    assert story["log"][-1] == lines[1]
    nobody = record.real_pages(boot.Boot(log(*lines)))
    assert nobody["stopped_the_offline"] is None


def test_a_recording_does_not_differ_from_itself_and_a_changed_answer_is_named() -> None:
    shipped, changed = kernel.load("6.1"), kernel.load(kernel.DATA / "6.1")
    assert record.differences(changed, shipped) == []
    at = next(i for i, c in enumerate(changed.cells) if c.reader == "soft_offline" and c.errno == 5)
    told = changed.cells[at]
    changed.cells[at] = kernel.Cell(told.scheme, told.reader, told.pfn, told.before, errno=16)
    changed.zbud_pfns = changed.zbud_pfns[: len(changed.zbud_pfns) // 2]
    size, answer = record.differences(changed, shipped)
    assert "zbud pages; the shipped one has" in size
    assert answer.startswith(f"soft_offline of {told.scheme}: (None, 16,")


def test_what_chance_decides_is_no_difference() -> None:
    shipped, changed = kernel.load("6.1"), kernel.load(kernel.DATA / "6.1")
    told = kernel.Cell("mapcount_m512", "soft_offline", 1, bytes(64), errno=99)
    unmet = kernel.Cell("plain", "compact_movable", 1, bytes(64), errno=99, met=False)
    others = [c for c in changed.cells if (c.scheme, c.reader) not in ((t.scheme, t.reader) for t in (told, unmet))]
    changed.cells = [*others, told, unmet]
    assert record.differences(changed, shipped) == []
    changed.cells = [kernel.Cell("mapcount_m512", "kpageflags", 1, bytes(64), value=99)]
    assert len(record.differences(changed, shipped)) == 1


# The command line


def test_help_needs_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "fieldlab", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("--quick", "--release", "--out", "--yes"))


def test_lab_py_hands_the_word_over() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("lab_py", ROOT / "lab.py")
    assert spec and spec.loader
    front_door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(front_door)
    assert front_door.WORDS["fieldlab"][1] == ["-m", "fieldlab"]


def test_nothing_is_downloaded_unless_agreed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    package = packages.Package("linux-image-6.1.0-9-amd64", "6.1.9", 70_000_000, "0", ())
    monkeypatch.setattr(packages, "missing_tools", list)
    monkeypatch.setattr(packages, "plan", lambda release: [package])
    monkeypatch.setattr(packages, "fetch", lambda *_: pytest.fail("it was fetched all the same"))
    monkeypatch.setattr("builtins.input", lambda question: "n")
    monkeypatch.setattr(lab.sys, "platform", "linux")
    assert lab.main(["--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "70 MB to download" in said.out and "nothing was downloaded" in said.err


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(packages, "missing_tools", lambda: ["qemu-system-x86"])
    monkeypatch.setattr("builtins.input", lambda question: "")
    monkeypatch.setattr(lab.sys, "platform", "linux")
    assert lab.main(["--out", str(tmp_path / "out")]) == 1
    assert "apt-get install --yes --no-install-recommends qemu-system-x86" in capsys.readouterr().err


def test_folders_that_the_kernels_build_system_cannot_stand(tmp_path: Path, capsys: Any) -> None:
    if sys.platform.startswith("linux"):
        assert lab.main(["--out", str(tmp_path / "two words")]) == 1
        assert "space or colon" in capsys.readouterr().err


def test_licences_are_named() -> None:
    for path in sorted((ROOT / "fieldlab/module").iterdir()):
        assert "SPDX-License-Identifier: GPL-2.0" in path.read_text().splitlines()[0]
    for path in [*(ROOT / "fieldlab/guest").iterdir()]:
        assert "SPDX-License-Identifier: MIT" in path.read_text()
    assert "GPL-2.0" in (ROOT / "fieldlab/README.md").read_text()

"""One boot of the throw-away machine: started, watched, and ended; its log and its files brought home.

The guest has no network, one processor, a disk to swap to and a disk to hand its files over on, as one tar archive.
Its log is the serial line.  A panic would restart the machine, and -no-reboot makes QEMU end instead.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import build
from .packages import Trouble

COMMAND_LINE = (
    "console=ttyS0 ignore_loglevel printk.devkmsg=on nokaslr no_hash_pointers mitigations=off tsc=reliable "
    "oops=panic panic=-1 zswap.enabled=1 zswap.zpool=zbud zswap.compressor=lzo"
)
SWAP, OUT = 512 << 20, 128 << 20  # bytes of the two disks; both are sparse files
# A memory block that can be taken away again lies in a module of its own, 128 MiB in size.  It is to stay offline until
# the guest puts it into the movable zone: 6.12 would else put kernel pages into it.
DIMM_WORD = " memhp_default_state=offline"
DIMM = ["-object", "memory-backend-ram,id=m1,size=128M", "-device", "pc-dimm,id=d1,memdev=m1"]


@dataclass
class Boot:
    """What came of a boot: `log` from the guest's first word on, the files that it handed over, whether it got to the
    end of its job, whether the watchdog had to end it, and the wall time in seconds."""

    log: str
    files: dict[str, bytes] = field(default_factory=dict)
    ended: bool = False
    hung: bool = False
    seconds: float = 0.0


class Machine:
    """How guests of one kernel are started.  `accelerator` is "kvm" or "tcg"; logs and disks go to `folder`."""

    def __init__(self, kernel: Path, initramfs: bytes, folder: Path, accelerator: str = "tcg") -> None:
        self.kernel, self.initramfs, self.folder, self.accelerator = kernel, initramfs, folder, accelerator
        self.boots = 0

    def command(self, mib: int, dimm: bool) -> list[str]:
        """QEMU's command line for a guest of `mib` MiB."""
        memory = ["-m", f"{mib}M,slots=2,maxmem=1G", *DIMM] if dimm else ["-m", f"{mib}M"]
        processor = ["-cpu", "host"] if self.accelerator == "kvm" else ["-cpu", "qemu64"]
        threads = {"kvm": "kvm", "tcg": "tcg,thread=single"}[self.accelerator]
        line = COMMAND_LINE + DIMM_WORD * dimm
        disks = []
        for name in ("swap", "out"):
            disks += ["-drive", f"file={self.folder / name}.disk,if=virtio,format=raw,cache=unsafe"]
        return [
            *("nice", "-n", "10", "qemu-system-x86_64", "-accel", threads, *processor, "-smp", "1", *memory),
            *("-display", "none", "-monitor", "none", "-serial", "stdio", "-net", "none", "-no-reboot"),
            *("-kernel", str(self.kernel), "-initrd", str(self.folder / "initramfs"), *disks, "-append", line),
        ]

    def boot(self, job: bytes, *, seconds: float = 120, mib: int = 256, dimm: bool = False) -> Boot:
        """Boot, and wait until the guest switches itself off, or for so many seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "initramfs").write_bytes(self.initramfs + job)
        for name, size in (("swap", SWAP), ("out", OUT)):
            (self.folder / f"{name}.disk").unlink(missing_ok=True)
            with (self.folder / f"{name}.disk").open("wb") as disk:
                disk.truncate(size)
        self.boots += 1
        start, path = time.monotonic(), self.log_path
        with path.open("wb") as log:
            hung = watch(self.command(mib, dimm), log.fileno(), seconds)
        text = path.read_text(errors="replace").replace("\r", "")
        files = handed_over(self.folder / "out.disk")
        return Boot(text, files, "fieldlab: END" in text, hung, time.monotonic() - start)

    @property
    def log_path(self) -> Path:
        """Where the log of the latest boot is kept."""
        return self.folder / f"boot-{self.boots:03}.log"

    def must(self, job: bytes, what: str, *, seconds: float = 120, mib: int = 256) -> Boot:
        """A boot that has to get to the end of its job.  Trouble, with the place of the log, if it does not."""
        result = self.boot(job, seconds=seconds, mib=mib)
        if not result.ended:
            how = f"did not end within {seconds:.0f} s and was stopped" if result.hung else "stopped early"
            last = "\n".join(result.log.splitlines()[-4:])
            raise Trouble(f"the boot for {what} {how}; its log is {self.log_path}, its last words:\n{last}")
        return result


def watch(command: list[str], log: int, seconds: float) -> bool:
    """Run a command with its output in `log`; whether it had to be killed after so many seconds."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        except BaseException:  # Ctrl-C: no guest is left behind
            process.kill()
            raise
    return False


def handed_over(disk: Path) -> dict[str, bytes]:
    """The files of the tar archive that the guest wrote straight on a disk; none if it wrote nothing."""
    with disk.open("rb") as file:
        if not any(file.read(512)):
            return {}
        file.seek(0)
        with tarfile.open(fileobj=io.BytesIO(file.read()), mode="r:") as tar:
            return {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def accelerator(machine: Machine) -> str:
    """ "kvm" if a guest gets through a boot with it here, else "tcg".  A device that opens is no proof of that."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    machine.accelerator = "kvm"
    works = machine.boot(build.job({"job": "layout"}), seconds=20).ended
    return "kvm" if works else "tcg"

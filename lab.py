"""zbudlab's front door: one file, standard library only, the same words on Linux, macOS and Windows (there: py lab.py).

    python3 lab.py          set up once, then open JupyterLab on the course
    python3 lab.py test     the same set-up, then the tests
    python3 lab.py --help   everything else

It parses on Python 3.6, so that an old Python is answered with a sentence. What it prints is ASCII, except for names of
files: those go to stderr, where Python escapes what the terminal cannot show.
"""

import collections.abc
import contextlib
import hashlib
import importlib.util
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time

if sys.version_info < (3, 11):  # noqa: UP036  (this test is for the Pythons that the rest of the file is not for)
    sys.exit("zbudlab: this is Python {}.{}, and 3.11 or newer is needed. Install one (python.org has it) and start "
             "lab.py with that, for example: python3.12 lab.py".format(*sys.version_info))

ROOT = pathlib.Path(__file__).resolve().parent
ENV = ROOT / ".venv"
PYTHON = ENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = ENV / "zbudlab.stamp"  # written last, so where it stands the set-up went through
LOG = ENV / "zbudlab-setup.log"  # removed last, so where it stands a set-up broke off
LOCK = ROOT / ".venv.lock"  # there while somebody sets up: the process, and the machine it runs on
CONFIG = ENV / "jupyter"  # the course's own Jupyter settings: nobody's private ones (token off, say) get in
PATIENCE = 5  # seconds that a program gets to end by itself after Ctrl-C
HOMES = ("JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR")  # what is kept elsewhere if the home cannot be written

CALL = "py lab.py" if os.name == "nt" else "python3 lab.py"
WORDS = {  # word: (what --help says, what the environment's Python is given before the further words)
    "test": ("run the tests; --quick leaves out the slow ones; further words go to pytest;\n"
             "                  --lowest runs them on the oldest packages that pyproject.toml allows",
             ["-m", "pytest", "-n", "auto", "--dist", "worksteal"]),
    "bench": ("print figures, each beside a yardstick (under ten minutes); see bench --help", ["-m", "benchmarks"]),
    "notebooks": ("run the notebooks again and save their outputs (for authors)", ["tools/notebooks.py"]),
    "site": ("build the browser edition, a folder for any web server; --serve shows it here", ["-m", "tools.site"]),
    "doctor": ("say what is installed here and what that makes possible", ["-m", "zbudlab", "doctor"]),
    "check": ("hold the model to the recordings", ["-m", "zbudlab", "check"]),
    "matrix": ("print which reader is safe with which scheme", ["-m", "zbudlab", "matrix"]),
    "demonstrate": ("find the shortest trace that breaks a scheme", ["-m", "zbudlab", "demonstrate"]),
    "claims": ("print the claims of the discussion, each put to the test", ["-m", "zbudlab", "claims"]),
    "price": ("print what the merged design costs", ["-m", "zbudlab", "price"]),
    "fieldlab": ("ask a real kernel in a virtual machine (Debian); it says what it downloads", ["-m", "fieldlab"]),
}
HELP = f"""\
Use: {CALL} [WORD] [OPTIONS]

  (no word)       open the course in JupyterLab
    --port N      on this port; otherwise on a free one
    --no-browser  print the address only, to open in a browser yourself
""" + "".join(f"  {word:15} {text}\n" for word, (text, _) in WORDS.items()) + """\
  -h, --help      this list

The first call sets everything up in the folder .venv; to start over, delete that folder."""


def say(text: str) -> None:
    print("zbudlab: " + text, flush=True)


def refusal(text: str, code: int = 1) -> SystemExit:
    print("zbudlab: " + text, file=sys.stderr, flush=True)
    return SystemExit(code)


# The environment


def fingerprint() -> str:
    """What an environment is made for: another Python or other requirements call for a new set-up."""
    made_for = b"%d.%d " % sys.version_info[:2] + (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(made_for).hexdigest()


def ready() -> bool:
    return PYTHON.exists() and STAMP.is_file() and STAMP.read_bytes() == fingerprint().encode()


def usable() -> bool:
    """Whether the .venv that is here (an older one, or one made by hand) can be installed into as it is."""
    if LOG.exists() or not PYTHON.exists():
        return False
    question = f"import sys, pip; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    try:
        return subprocess.run([PYTHON, "-c", question], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def step(what: str, *command: object) -> None:
    """One step of the set-up: its output goes to the log, and meanwhile the seconds and the packages are counted."""
    terminal = sys.stdout.isatty()
    start = time.monotonic()
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    with LOG.open("ab") as log, subprocess.Popen([str(part) for part in command], cwd=ROOT, env=environment,
                                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
        code = None
        while code is None:
            try:
                code = process.wait(timeout=1 if terminal else 10)
            except subprocess.TimeoutExpired:
                pass
            except BaseException:  # Ctrl-C
                process.terminate()
                print(flush=True)
                raise
            text = LOG.read_text(encoding="utf-8", errors="replace")
            packages = text.count("\nCollecting ") + text.count("\nProcessing ")  # pip's words; uv needs no count
            line = f"zbudlab: {what}, {time.monotonic() - start:.0f} s" + (f", {packages} packages" if packages else "")
            print(f"\r{line}" if terminal else line, end="" if terminal and code is None else "\n", flush=True)
    if code:
        print("".join(f"    {line}\n" for line in text.splitlines()[-12:]), file=sys.stderr, end="")
        raise refusal(f"{what} failed (exit code {code}); its last words are above, all of them in .venv/{LOG.name}. "
                      "Most often there is no network, or a proxy in the way, or the disk is full: mend that, then run "
                      "the same command again.")


def finish() -> None:
    """What pip leaves to be done."""
    # The link to zbudlab becomes a relative one: it stays true when the folder is moved, and it is ASCII. One that is
    # not stops Python itself, before 3.13, in a C locale; on Windows it is misread.
    site = pathlib.Path(sysconfig.get_path("purelib", "venv", {"base": str(ENV), "platbase": str(ENV)}))
    for link in site.glob("*zbudlab*.pth"):
        link.write_text(os.path.relpath(ROOT, site) + "\n")


def holder() -> str:
    """What LOCK says: process and machine; nothing if it has gone, or is about to be written."""
    try:
        return LOCK.read_text(encoding="utf-8")
    except OSError:
        return ""


def abandoned() -> bool:
    """Whether the set-up that made LOCK is gone and cannot remove it any more. In doubt, no."""
    held = holder()
    process, _, machine = held.partition(" ")
    if not process.isdecimal() or machine != socket.gethostname():  # other machines' processes are not seen from here
        return False
    if os.name == "nt":  # no harmless signal there; but what somebody has open cannot be removed, and the rest may go
        with contextlib.suppress(OSError):
            LOCK.unlink()
        return False
    try:
        if int(process) != os.getpid():  # in a container everybody may be process 7
            os.kill(int(process), 0)
            return False
    except ProcessLookupError:
        pass
    except (OSError, OverflowError):  # another user's process; or a number that is none
        return False
    return held == holder()


def take_lock() -> int:
    """Wait until no other set-up is under way here, and hold LOCK: its open descriptor."""
    told = False
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(LOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        if abandoned():
            raise refusal(f"an earlier set-up was ended before it could remove the file {LOCK.name}. "
                          "Delete that file, then run the same command again.")
        if not told:
            say("another set-up is under way in this folder; waiting for it. "
                f"If you know of none, press Ctrl-C and delete the file {LOCK.name}.")
        told = True
        time.sleep(1)


@contextlib.contextmanager
def alone() -> collections.abc.Iterator[None]:
    """Be the only set-up in this folder: a second one would remove what the first is at work on."""
    lock = take_lock()
    try:
        os.write(lock, f"{os.getpid()} {socket.gethostname()}".encode())
        yield
    finally:
        os.close(lock)
        with contextlib.suppress(OSError):  # on Windows, while another one reads it; that one removes it then
            LOCK.unlink()


def set_up() -> None:
    """Make .venv what this folder needs, unless somebody else has done so meanwhile."""
    try:
        with alone():
            if not ready():
                make_environment()
    except OSError as error:
        raise refusal(f"the folder .venv cannot be written ({error}). Is a JupyterLab from it still open, the disk "
                      "full, or the folder around it not yours? Mend that, then run the same command again.") from error


def make_environment() -> None:
    """Make .venv, from nothing where what is there cannot be trusted. The stamp comes last."""
    uv = shutil.which("uv")
    python = getattr(sys, "_base_executable", sys.executable)  # not .venv's own, which may be about to be removed
    say("setting up the folder .venv. This happens once: a minute or two, about 150 MB to download and 700 MB on disk.")
    STAMP.unlink(missing_ok=True)
    if not usable():
        if not uv and not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
            raise refusal("this Python lacks its venv module. On Debian and Ubuntu: sudo apt install python3-venv; "
                          "elsewhere, install Python from python.org. Then run the same command again.")
        if ENV.exists():
            shutil.rmtree(ENV)
        ENV.mkdir()
        make = [uv, "venv", "--seed", "--allow-existing", "--python", python] if uv else [python, "-m", "venv"]
        step("making an environment", *make, ENV)
    step("installing", *pip_install(), "--editable", ".[test]")
    finish()
    LOG.unlink()
    STAMP.write_text(fingerprint())


def pip_install() -> list[object]:
    """The command that installs into .venv what is named after it."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", PYTHON]
    return [PYTHON, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]


def add(extra: str) -> None:
    """Install the packages that an extra of pyproject.toml pins, unless .venv has them in these versions."""
    import tomllib  # there since 3.11

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = project["optional-dependencies"][extra]
    question = ("import importlib.metadata as m, sys\n"
                "sys.exit(any(m.version(name) != pin for name, pin in (p.split('==') for p in sys.argv[1:])))")
    if subprocess.run([PYTHON, "-c", question, *pins], stderr=subprocess.DEVNULL).returncode:
        say(f"adding to .venv what {CALL} {extra} works with, about 20 MB. This happens once.")
        with alone():
            step("installing", *pip_install(), *pins)
            LOG.unlink()


# The words


@contextlib.contextmanager
def circumstances() -> collections.abc.Iterator[dict[str, str]]:
    """What has to be said to a program because of where it runs, as variables of its environment."""
    said = {}
    if sys.getfilesystemencoding() == "ascii":  # a C locale: pytest's workers choke on names of files beyond ASCII
        said["PYTHONUTF8"] = "1"
    if os.access(os.path.expanduser("~"), os.W_OK):  # noqa: PTH111  (Path's raises an error where there is no home)
        yield said
        return
    with tempfile.TemporaryDirectory(prefix="zbudlab-", ignore_cleanup_errors=True) as private:
        yield said | {name: os.environ.get(name) or str(pathlib.Path(private, name)) for name in HOMES}


def run(*command: object) -> int:
    """Run something in the environment, from the root. Ctrl-C is for it to answer, in good time."""
    words = [str(part) for part in (PYTHON, *command)]
    with circumstances() as told, subprocess.Popen(words, cwd=ROOT, env=os.environ | told) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            try:
                process.wait(timeout=PATIENCE)
            except (KeyboardInterrupt, subprocess.TimeoutExpired):
                process.terminate()
            return 130


def port_asked_for(words: list[str]) -> int | None:
    """The port, if the words say one. They may say --port N and --no-browser, and nothing else."""
    port, rest = None, list(words)
    while rest:
        word, _, value = rest.pop(0).partition("=")
        if word == "--port":
            value = value or (rest.pop(0) if rest else "")
            if not (value.isascii() and value.isdecimal() and 0 < int(value) < 65536):
                raise refusal(f"--port needs a number from 1 to 65535, not {value!a}.", 2)
            port = int(value)
        elif word != "--no-browser":
            raise refusal(f"{word!a} is not a word it knows; {CALL} --help lists them all.", 2)
    return port


def check_port(port: int) -> None:
    with socket.socket() as probe:
        if os.name != "nt":  # there it would share a busy port; elsewhere it only forgives one that was just closed
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise refusal(f"port {port} cannot be had ({error.strerror}). "
                          "Give another with --port N, or leave --port out and a free one is found.") from error


def open_lab(words: list[str]) -> int:
    port = port_asked_for(words)
    if port:
        check_port(port)
    if not ready():
        set_up()
    return run("-m", "zbudlab", "open", ROOT, "--settings", CONFIG, *words)


def main(words: list[str]) -> int:
    if words and words[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if not words or words[0].startswith("-") or words[0] not in WORDS:
        return open_lab(words)
    word, *rest = words
    if not ready():
        set_up()
    if word == "site" or (word == "test" and os.environ.get("ZBUDLAB_BROWSER") == "required"):
        add("site")
    if word == "test" and "--quick" in rest:
        rest.remove("--quick")
        rest[:0] = ["-m", "not slow and not browser"]
    first = WORDS[word][1]
    if word == "test" and "--lowest" in rest:
        rest.remove("--lowest")
        first = ["tools/lowest.py", *first]
    return run(*first, *rest)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

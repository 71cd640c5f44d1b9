"""What `make setup` runs: choose the packages for this machine and install them into .venv.

Standard library only, and no syntax newer than Python 3.7, so that the bare python3 of an old
system still gets as far as the message that says which one to use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    Version = tuple[int, ...]

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 11), (3, 12), (3, 13))
DISK_BYTES = {"cpu": 5 * 10**9, "cuda": 20 * 10**9, "llamacpp": 10**9}
# The newest that a wheel of the lists asks for.
GLIBC = {
    "x86_64": {"cpu": (2, 31), "cuda": (2, 31), "llamacpp": (2, 31)},
    "aarch64": {"cpu": (2, 31), "cuda": (2, 34), "llamacpp": (2, 31)},
}
MACS = ("arm64",)  # what macOS calls Apple silicon; Ray and MLX have no packages for Intel
# What `ENGINE` may be, and the target that holds no more than it needs; vLLM's depends on the box.
ENGINES = {"vllm": None, "llamacpp": "llamacpp", "mlx": "llamacpp"}
# A list that stands beside any target, and the glibc that it needs on Linux.
ADDED = {"mlx": "requirements/mlx.txt"}
MLX_GLIBC = (2, 35)
NVIDIA_FILES = ("/proc/driver/nvidia/version", "/dev/nvidiactl")
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LIVE_LINE_S = 0.5
LOGGED_LINE_S = 15.0


class SetupError(Exception):
    """The machine or the network does not allow the set-up; the message says what to do."""


@dataclass(frozen=True)
class Machine:
    system: str
    arch: str
    glibc: Version | None
    cpu_flags: frozenset[str]
    nvidia: bool
    free_bytes: int


def inspect_machine() -> Machine:
    return Machine(
        system=platform.system(),
        arch=platform.machine(),
        glibc=_glibc(),
        cpu_flags=_cpu_flags(Path("/proc/cpuinfo")),
        nvidia=any(map(os.path.exists, NVIDIA_FILES)) or shutil.which("nvidia-smi") is not None,
        free_bytes=shutil.disk_usage(str(ROOT)).free,
    )


def _glibc() -> Version | None:
    name, version = platform.libc_ver()
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if name == "glibc" and found else None


def _cpu_flags(cpuinfo: Path) -> frozenset[str]:
    try:
        found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(found.group(1).split()) if found else frozenset()


def check_python(version: Version, name: str, others: list[str]) -> None:
    if tuple(version[:2]) in PYTHONS:
        return
    found = ".".join(map(str, version[:3]))
    advice = (
        f"Choose another one: make PYTHON={others[0]} serve"
        if others
        else "Install one of them, then for example: make PYTHON=python3.12 serve"
    )
    raise SetupError(f"Roundhouse needs Python 3.11, 3.12 or 3.13; {name} is {found}.\n{advice}")


def other_pythons() -> list[str]:
    names = [f"python{major}.{minor}" for major, minor in PYTHONS]
    return [name for name in names if shutil.which(name) and _runs(name)]


def _runs(python: str) -> bool:
    # A shim of a version manager is on the PATH even where its version is not chosen.
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def choose_target(machine: Machine, wanted: str | None, engine: str | None = None) -> str:
    if machine.system not in ("Linux", "Darwin"):
        raise SetupError(_no_linux(machine.system))
    if wanted not in (None, "cpu", "cuda"):
        raise SetupError(f"TARGET={wanted} is unknown: it is cpu or cuda.")
    if engine not in (None, *ENGINES):
        raise SetupError(f"ENGINE={engine} is unknown: it is {' or '.join(ENGINES)}.")
    if machine.system == "Darwin":
        return _target_of_mac(wanted, engine)
    return wanted or ENGINES[engine or "vllm"] or ("cuda" if machine.nvidia else "cpu")


def _target_of_mac(wanted: str | None, engine: str | None) -> str:
    """Without vLLM; llama.cpp, which needs least, is what runs unless MLX is asked for."""
    if wanted is not None or engine == "vllm":
        raise SetupError(
            "vLLM has no GPU build for macOS. Leave it to llama.cpp (make serve) or MLX (make "
            "serve ENGINE=mlx), both on Metal; vllm-metal can be served as an endpoint "
            "(docs/engines.md)."
        )
    return "llamacpp"


def _no_linux(system: str) -> str:
    return (
        f"Roundhouse installs on Linux and macOS only so far; this is {system}.\n"
        "Run it in a Linux container or virtual machine (on Windows: in WSL 2), or on a Linux "
        "box, and point your clients here at it."
    )


def has_mlx(machine: Machine) -> bool:
    """Whether there are packages of MLX for it."""
    if machine.system == "Darwin":
        return machine.arch in MACS
    return machine.arch in GLIBC and machine.glibc is not None and machine.glibc >= MLX_GLIBC


def added(machine: Machine, engine: str | None, dev: bool) -> list[str]:
    """Lists beside the target's. The tests run MLX for real where there are packages of it."""
    if engine == "mlx" and not has_mlx(machine):
        raise SetupError(
            f"MLX needs Apple silicon, or Linux with glibc {MLX_GLIBC[0]}.{MLX_GLIBC[1]} or newer "
            "(Debian 12, Ubuntu 22.04)."
        )
    return [ADDED["mlx"]] if engine == "mlx" or (dev and has_mlx(machine)) else []


def check_machine(machine: Machine, target: str) -> None:
    if machine.system == "Darwin":
        if machine.arch not in MACS:
            raise SetupError("There are no packages for Macs with Intel: Apple silicon is needed.")
    else:
        _check_linux(machine, target)
    if machine.free_bytes < DISK_BYTES[target]:
        raise SetupError(_no_space(machine.free_bytes, target))


def _check_linux(machine: Machine, target: str) -> None:
    if machine.arch not in GLIBC:
        raise SetupError(f"There are no packages for {machine.arch}: x86_64 or aarch64 is needed.")
    glibc = GLIBC[machine.arch][target]
    if machine.glibc is None or machine.glibc < glibc:
        raise SetupError(
            f"The {target} packages need glibc {glibc[0]}.{glibc[1]} or newer, which Debian 12, "
            "Ubuntu 22.04 and RHEL 9 have (Alpine has none)."
        )
    if target == "cpu" and machine.arch == "x86_64" and "avx2" not in machine.cpu_flags:
        raise SetupError(
            "This CPU has no AVX2, which vLLM's CPU build needs (Intel since 2013, AMD since "
            "2015).\nIn a virtual machine, pass the host's CPU through."
        )


def _no_space(free_bytes: int, target: str) -> str:
    needed, free = DISK_BYTES[target] / 1e9, free_bytes / 1e9
    return f"The {target} packages need {needed:.0f} GB on disk; {ROOT} has {free:.1f} GB free."


@dataclass
class Stamp:
    """What .venv holds: it is current when every step's input still has the digest noted here."""

    root: str
    target: str
    target_chosen: bool
    python: str
    done: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> Stamp | None:
        try:
            return Stamp(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        part = path.with_suffix(".part")
        part.write_text(json.dumps(self.__dict__, indent=1))
        part.replace(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def steps(target: str, dev: bool, beside: Sequence[str] = ()) -> list[str]:
    """The files that the installation follows from, in order."""
    tools = ["requirements/dev.txt"] if dev else []
    return [f"requirements/{target}.txt", *beside, *tools, "pyproject.toml"]


def pending(stamp: Stamp, root: Path, dev: bool, beside: Sequence[str] = ()) -> list[str]:
    names = steps(stamp.target, dev, beside)
    return [name for name in names if stamp.done.get(name) != digest(root / name)]


def usable(stamp: Stamp | None, wanted: Stamp, python_chosen: bool) -> bool:
    """Whether the .venv of `stamp` can serve `wanted`, as it is or after more steps."""
    if stamp is None or stamp.root != wanted.root:
        return False
    if python_chosen and stamp.python != wanted.python:
        return False
    kept = stamp.target_chosen and not wanted.target_chosen
    suffices = wanted.target == "llamacpp"  # every target has it
    return kept or suffices or stamp.target == wanted.target


class Venv:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.stamp_file = self.folder / "setup.json"
        self.log_file = self.folder / "setup.log"
        self.python = self.folder / "bin" / "python"

    def stamp(self) -> Stamp | None:
        return Stamp.read(self.stamp_file) if self.python.exists() else None

    def create(self, stamp: Stamp) -> None:
        check_python(sys.version_info[:3], sys.executable, other_pythons())
        try:
            import ensurepip  # noqa: F401
            import venv
        except ImportError:
            package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            raise SetupError(f"This Python cannot make a venv: apt install {package}") from None
        say(f"Making .venv with Python {stamp.python} for {stamp.target}")
        venv.create(str(self.folder), clear=True, with_pip=True, symlinks=True)
        stamp.write(self.stamp_file)

    def install(self, stamp: Stamp, name: str) -> None:
        # Forgotten first: an interrupted step must not count as the one before it.
        stamp.done.pop(name, None)
        stamp.write(self.stamp_file)
        self._forget_half_installed()
        if name == "pyproject.toml":
            self._pip("roundhouse", ["--no-build-isolation", "--editable", str(self.root)])
        else:
            self._install_list(self.root / name)
        stamp.done[name] = digest(self.root / name)
        stamp.write(self.stamp_file)

    def _forget_half_installed(self) -> None:
        # pip writes INSTALLER after a package's files; without it pip was killed in between, and
        # would take the package for complete.
        for info in self.folder.glob("lib/python*/site-packages/*.dist-info"):
            if not (info / "INSTALLER").exists():
                shutil.rmtree(str(info))

    def _install_list(self, path: Path) -> None:
        pins = read_pins(path)
        torch = next((pin for pin in pins if re.match(r"torch==.*\+cpu$", pin)), None)
        if torch:
            self._install_torch(torch)
        self._pip(f"{len(pins)} packages of {path.name}", ["--requirement", str(path)])

    def _install_torch(self, pin: str) -> None:
        try:
            self._pip(pin, [pin])
        except SetupError:
            if "No matching distribution" not in self._log_tail():
                raise
            say(f"{pin}: not in pip's usual indexes, trying PyTorch's own")
            self._pip(pin, [pin, "--extra-index-url", TORCH_CPU_INDEX])

    def _pip(self, title: str, arguments: list[str]) -> None:
        command = [str(self.python), "-m", "pip", "install", "--no-deps", "--progress-bar=off"]
        with self.log_file.open("a") as log, Progress(title) as progress:
            log.write(f"\n$ pip install {' '.join(arguments)}\n")
            for line in self._output([*command, *arguments]):
                log.write(line)
                log.flush()
                progress.see(line)

    def _output(self, command: list[str]) -> Iterator[str]:
        with subprocess.Popen(
            command,
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            cwd=str(self.root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        ) as process:
            assert process.stdout is not None
            yield from process.stdout
        if process.returncode != 0:
            raise SetupError(f"pip failed:\n{explain(self._log_tail())}")

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines[-15:] if not line.startswith("WARNING: Location"))


def read_pins(path: Path) -> list[str]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


HINTS = (
    ("No space left", "The disk is full: free some space"),
    ("No matching distribution", "A package is not in pip's indexes for this Python and CPU"),
    ("hash", "A download was damaged"),
    ("resolution|Connection|timed out|Retry|Proxy|SSL", "Check the network and pip's settings"),
)


def explain(tail: str) -> str:
    hint = next((text for pattern, text in HINTS if re.search(pattern, tail)), "See the log")
    return (
        f"{tail}\n\n{hint}, then run it again: it goes on where it stopped.\nLog: .venv/setup.log"
    )


class Progress:
    """One line for a whole pip run: live on a terminal, now and then in a log."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.live = sys.stdout.isatty()
        self.started = self.shown = time.monotonic()
        self.fetched = 0
        self.phase = ""

    def __enter__(self) -> Self:
        self._show("...")
        return self

    def see(self, line: str) -> None:
        if line.lstrip().startswith(("Downloading", "Using cached", "Processing")):
            self.fetched += 1
            self.phase = f"{self.fetched} fetched"
        elif line.startswith("Installing collected"):
            self.phase = "installing"
        if time.monotonic() - self.shown > (LIVE_LINE_S if self.live else LOGGED_LINE_S):
            self._show(", ".join(filter(None, [self.phase, self._elapsed()])))

    def __exit__(self, kind: object, *_: object) -> None:
        self._show(f"{'failed' if kind else 'done'} after {self._elapsed()}")
        if self.live:
            print()

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self.started:.0f} s"

    def _show(self, text: str) -> None:
        self.shown = time.monotonic()
        start, end = ("\r\033[K", "") if self.live else ("", "\n")
        print(f"{start}  {self.title}: {text}", end=end, flush=True)


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    import fcntl

    # The checkout itself is locked: a file in .venv would vanish when that is made anew.
    handle = os.open(str(root), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def set_up(
    root: Path,
    wanted_target: str | None,
    python_chosen: bool,
    dev: bool,
    engine: str | None = None,
) -> None:
    machine = inspect_machine()
    target = choose_target(machine, wanted_target, engine)
    beside = added(machine, engine, dev)
    wanted = Stamp(str(root), target, wanted_target is not None, platform.python_version())
    venv = Venv(root)
    with one_at_a_time(root):
        stamp = venv.stamp()
        if stamp is None or not usable(stamp, wanted, python_chosen):
            check_machine(machine, target)
            venv.create(wanted)
            stamp = wanted
        for name in pending(stamp, root, dev, beside):
            venv.install(stamp, name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make setup", description="Install into .venv.")
    parser.add_argument("--target", help="cpu or cuda, instead of what is found")
    parser.add_argument("--engine", help="vllm, llamacpp or mlx; only the first needs vLLM")
    parser.add_argument("--dev", action="store_true", help="the test and lint tools too")
    parser.add_argument(
        "--python-chosen", action="store_true", help="remake a .venv of another one"
    )
    options = parser.parse_args()
    try:
        set_up(
            ROOT,
            options.target or None,
            options.python_chosen,
            options.dev,
            options.engine or None,
        )
    except SetupError as error:
        print(f"\nsetup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: interrupted; run it again, it goes on where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

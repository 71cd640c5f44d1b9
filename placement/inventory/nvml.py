"""NVIDIA GPUs by NVML; the only file that imports pynvml.

Every fact is read on its own, and one that the driver refuses is None. A GPU that cannot be read
at all is listed with its error. Nothing here raises for the state of a driver or a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pynvml

from placement.inventory.inventory import Gpu, Link, Process
from placement.inventory.nvlink import FarEnd, links_between
from placement.inventory.nvml_codes import (
    LIBRARY_NOT_FOUND,
    cuda_version,
    driver_problem,
    gpu_problem,
    link_path,
    only_node,
    throttle_reasons,
)

LOADED_DRIVER = Path("/proc/driver/nvidia/version")

# A name that is no text is the driver's fault as well.
_REFUSED = (pynvml.NVMLError, UnicodeDecodeError)

# Plain numbers: pynvml's own NVML_P2P_CAPS_INDEX_READ is a 1-tuple by mistake.
_P2P_READ, _P2P_WRITE, _P2P_NVLINK = 0, 1, 2
_NUMA_WORDS = 4  # of 64 nodes each


@dataclass(frozen=True)
class Reading:
    """All that NVML says about a box."""

    gpus: tuple[Gpu, ...] = ()
    links: tuple[Link, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
    errors: tuple[str, ...] = ()


def read(loaded_driver: Path = LOADED_DRIVER) -> Reading:
    """Empty on a box without the NVIDIA driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value == LIBRARY_NOT_FOUND and not loaded_driver.exists():
            return Reading()
        return Reading(errors=(driver_problem(error.value, str(error)),))
    try:
        return _read_box()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read_box() -> Reading:
    driver = _ask(pynvml.nvmlSystemGetDriverVersion)
    cuda = _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    try:
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return Reading((), (), driver, None, (driver_problem(error.value, str(error)),))
    handles = {index: _handle(index) for index in range(count)}
    gpus = [
        _gpu(index, handle) if not isinstance(handle, str) else Gpu(index, error=handle)
        for index, handle in handles.items()
    ]
    for parent in [gpu for gpu in gpus if gpu.mig_enabled]:
        gpus += _slices(parent, handles[parent.index], first=len(gpus))
    working = [gpu for gpu in gpus if gpu.kind == "discrete" and not gpu.error]
    return Reading(
        gpus=tuple(gpus),
        links=tuple(_links(working, handles)),
        driver_version=driver,
        cuda_version=cuda_version(cuda) if cuda else None,
    )


def _ask(function: Callable[..., Any], *given: Any) -> Any:
    """One fact, or None where the driver refuses it."""
    try:
        return function(*given)
    except _REFUSED:
        return None


def _handle(index: int) -> Any:
    """A handle, or the reason why there is none."""
    try:
        return pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        return gpu_problem(error.value, str(error))


def _gpu(index: int, handle: Any) -> Gpu:
    bare = Gpu(
        index=index,
        uuid=_ask(pynvml.nvmlDeviceGetUUID, handle),
        name=_ask(pynvml.nvmlDeviceGetName, handle),
        pci_bus_id=_bus_id(_ask(pynvml.nvmlDeviceGetPciInfo_v3, handle)),
    )
    try:
        memory = _memory(handle)
    except pynvml.NVMLError as error:
        return replace(bare, error=gpu_problem(error.value, str(error)))
    return replace(bare, **memory, **_fixed(handle), **_momentary(handle))


def _memory(handle: Any) -> dict[str, Any]:
    """Empty where memory is not the GPU's own (GB10, Jetson), of which NVML knows nothing."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        reserved = {"reserved_bytes": memory.reserved}
    except pynvml.NVMLError:
        try:
            memory, reserved = pynvml.nvmlDeviceGetMemoryInfo(handle), {}
        except pynvml.NVMLError_NotSupported:
            return {}
    if not memory.total:
        return {}
    figures = {"total_bytes": memory.total, "used_bytes": memory.used, "free_bytes": memory.free}
    return figures | reserved


def _fixed(handle: Any) -> dict[str, Any]:
    """What changes only with the machine or its settings."""
    mig = _ask(pynvml.nvmlDeviceGetMigMode, handle)
    return {
        "compute_capability": _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
        "pcie_generation_max": _ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        "pcie_width_max": _ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        "power_limit_watts": _watts(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        "numa_node": _numa_node(handle),
        "mig_enabled": bool(mig and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE),
    }


def _momentary(handle: Any) -> dict[str, Any]:
    load = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return {
        "pcie_generation": _ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
        "pcie_width": _ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        "utilization_percent": load.gpu if load else None,
        "power_watts": _watts(_ask(pynvml.nvmlDeviceGetPowerUsage, handle)),
        "temperature_celsius": _temperature(handle),
        "throttle_reasons": _throttle_reasons(handle),
        "processes": _processes(handle),
    }


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _temperature(handle: Any) -> int | None:
    """By the newer call, or by the older one on drivers without it."""
    for call in (pynvml.nvmlDeviceGetTemperatureV, pynvml.nvmlDeviceGetTemperature):
        found: int | None = _ask(call, handle, pynvml.NVML_TEMPERATURE_GPU)
        if found is not None:
            return found
    return None


def _throttle_reasons(handle: Any) -> tuple[str, ...] | None:
    bits = _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if bits is None:  # its name before driver 535
        bits = _ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return None if bits is None else throttle_reasons(bits)


def _numa_node(handle: Any) -> int | None:
    """The node of the CPUs beside it; NVML's NumaNodeId is of GPUs that are nodes themselves."""
    words = _ask(
        pynvml.nvmlDeviceGetMemoryAffinity, handle, _NUMA_WORDS, pynvml.NVML_AFFINITY_SCOPE_NODE
    )
    return None if words is None else only_node(words)


def _bus_id(info: Any) -> str | None:
    return str(info.busId).lower() if info else None


def _processes(handle: Any) -> tuple[Process, ...] | None:
    """Who holds memory; a desktop's share counts like an engine's. None where it is hidden."""
    computing = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, handle)
    if computing is None:
        computing = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses_v2, handle)
    drawing = _ask(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, handle)
    if computing is None and drawing is None:
        return None
    # A process that does both is listed twice, each time with all that it holds.
    held = {each.pid: each.usedGpuMemory for each in [*(drawing or ()), *(computing or ())]}
    return tuple(
        Process(pid, _ask(pynvml.nvmlSystemGetProcessName, pid), used)
        for pid, used in sorted(held.items())
    )


def _slices(parent: Gpu, handle: Any, first: int) -> Iterator[Gpu]:
    """The MIG slices of a GPU. What NVML knows of whole GPUs only is taken from the parent."""
    index = first
    for place in range(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        try:
            found = _gpu(index, pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place))
        except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
            continue  # this place is free
        except pynvml.NVMLError as error:
            found = Gpu(index, error=gpu_problem(error.value, str(error)))
        profile = (found.name or "").partition(" MIG ")[2] or None
        yield replace(
            found,
            kind="mig",
            mig_parent=parent.index,
            mig_profile=profile,
            mig_enabled=False,
            name=found.name or parent.name,
            compute_capability=found.compute_capability or parent.compute_capability,
            pci_bus_id=parent.pci_bus_id,
            numa_node=parent.numa_node,
        )
        index += 1


def _links(gpus: list[Gpu], handles: dict[int, Any]) -> Iterator[Link]:
    ends = {gpu.index: _far_ends(handles[gpu.index]) for gpu in gpus}
    for a, b in combinations(gpus, 2):
        pair = handles[a.index], handles[b.index]
        joined = _p2p(*pair, _P2P_NVLINK)
        reads, writes = _p2p(*pair, _P2P_READ), _p2p(*pair, _P2P_WRITE)
        yield Link(
            a=a.index,
            b=b.index,
            nvlinks=links_between(ends[a.index], ends[b.index], a.pci_bus_id, b.pci_bus_id, joined),
            p2p=None if reads is None or writes is None else reads and writes,
            path=link_path(_ask(pynvml.nvmlDeviceGetTopologyCommonAncestor, *pair)),
        )


def _p2p(a: Any, b: Any, what: int) -> bool | None:
    status = _ask(pynvml.nvmlDeviceGetP2PStatus, a, b, what)
    return None if status is None else status == pynvml.NVML_P2P_STATUS_OK


def _far_ends(handle: Any) -> list[FarEnd] | None:
    """The far end of every active NVLink; none on a card without any."""
    ends = []
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            state = pynvml.nvmlDeviceGetNvLinkState(handle, link)
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument):
            break  # past the last one
        except pynvml.NVMLError:
            return None
        if state == pynvml.NVML_FEATURE_ENABLED:
            ends.append(_far_end(handle, link))
    return ends


def _far_end(handle: Any, link: int) -> FarEnd:
    return FarEnd(
        bus_id=_bus_id(_ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, link)),
        is_switch=_ask(pynvml.nvmlDeviceGetNvLinkRemoteDeviceType, handle, link)
        == pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH,
    )

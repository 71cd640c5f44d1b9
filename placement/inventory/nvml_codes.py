"""NVML's numbers in words: errors with what to do about them, and bit fields. As in nvml.h."""

from __future__ import annotations

from collections.abc import Iterable

from placement.inventory.inventory import LinkPath

NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18

_DRIVER_PROBLEMS = {
    NO_PERMISSION: (
        "this user may not open the NVIDIA devices: check the permissions of /dev/nvidia*"
    ),
    DRIVER_NOT_LOADED: (
        "the NVIDIA library is installed but the kernel module is not loaded: run "
        "`modprobe nvidia` (in a container: start it with --gpus all), then check `nvidia-smi`"
    ),
    LIBRARY_NOT_FOUND: (
        "the NVIDIA driver is loaded but its library libnvidia-ml.so.1 is not found: install "
        "the driver's user-space package (in a container: start it with --gpus all)"
    ),
    LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA kernel module and the library libnvidia-ml are of different versions, as "
        "after a driver update: reboot, or unload and load the kernel module"
    ),
}
_GPU_PROBLEMS = {
    GPU_IS_LOST: (
        "has fallen off the bus: look for Xid lines in `dmesg`, then power the box off and on"
    ),
    RESET_REQUIRED: "needs a reset: run `nvidia-smi --gpu-reset`, or reboot",
    NO_PERMISSION: "may not be opened by this user: check the permissions of /dev/nvidia*",
}
_PATHS: dict[int, LinkPath] = {
    0: "internal",
    10: "single",
    20: "multiple",
    30: "hostbridge",
    40: "node",
    50: "system",
}
# Bit 0, idleness, is left out: it lowers the clocks too, but hinders nobody.
_THROTTLES = {
    0x02: "applications_clocks_setting",
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}


def driver_problem(code: int, text: str) -> str:
    """Why no GPU can be looked at."""
    return _DRIVER_PROBLEMS.get(code, f"NVML does not answer ({text}): check `nvidia-smi`")


def gpu_problem(code: int, text: str) -> str:
    """Why one GPU cannot be used."""
    return _GPU_PROBLEMS.get(code, f"cannot be read by NVML ({text}): check `nvidia-smi`")


def link_path(level: int | None) -> LinkPath | None:
    return None if level is None else _PATHS.get(level)


def throttle_reasons(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in _THROTTLES.items() if bits & bit)


def only_node(words: Iterable[int]) -> int | None:
    """The one NUMA node of a set in words of 64 bits; None when it names none or several."""
    nodes = [
        64 * place + bit for place, word in enumerate(words) for bit in range(64) if word >> bit & 1
    ]
    return nodes[0] if len(nodes) == 1 else None


def cuda_version(number: int) -> str:
    """12080 is 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}"

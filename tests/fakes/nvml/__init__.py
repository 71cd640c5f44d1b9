"""A driver of the tests' own: a libnvidia-ml.so.1 built from nvml.c, fed by a JSON topology.

    library = build(tmp_path)
    subprocess.run([sys.executable, ...], env={**os.environ, **environment(library, "4x5090")})

A topology has `gpus`, and `every_gpu` with what they share; `pairs` ("0-1") and `every_pair` for
what stands between two of them; `errors` (function: NVML's code) at the top or in a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_FOLDER = _HERE / "topologies"
TOPOLOGIES = tuple(sorted(file.stem for file in _FOLDER.glob("*.json")))
_REWRITTEN = ("memory_mib", "compute", "graphics", "nvlinks", "mig")
_MIB = 1 << 20
_DEVICE_TYPES = {"gpu": 0, "switch": 2}


def build(folder: Path) -> Path:
    """Compiles the library into `folder`, under the name that nvidia-ml-py looks for."""
    library = folder / "libnvidia-ml.so.1"
    flags = ("-shared", "-fPIC", "-O1", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")
    subprocess.run(("gcc", *flags, "-o", str(library), str(_HERE / "nvml.c")), check=True)
    return library


def environment(library: Path, topology: str) -> dict[str, str]:
    """What a process needs to see this box: a name of TOPOLOGIES, or the path of a JSON file."""
    file = Path(topology) if topology.endswith(".json") else _FOLDER / f"{topology}.json"
    lines = library.parent / f"{file.stem}.topology"
    write(json.loads(file.read_text()), lines)
    paths = filter(None, (str(library.parent), os.environ.get("LD_LIBRARY_PATH")))
    return {"LD_LIBRARY_PATH": ":".join(paths), "FAKE_NVML_TOPOLOGY": str(lines)}


def read(topology: str) -> dict[str, Any]:
    """A committed topology, for a test that wants to change it."""
    data: dict[str, Any] = json.loads((_FOLDER / f"{topology}.json").read_text())
    return data


def write(topology: dict[str, Any], lines: Path) -> None:
    """The form that the library reads; it does so at every nvmlInit, so a box may change."""
    found = [f"{key} {value}\n" for key, value in _flat(_expanded(topology)) if value is not None]
    lines.write_text("".join(found))


def _expanded(topology: dict[str, Any]) -> dict[str, Any]:
    shared = topology.get("every_gpu", {})
    gpus = [_gpu(shared | own) for own in topology.get("gpus", [])]
    pairs = topology.get("pairs", {})
    return {
        **{key: topology.get(key) for key in ("driver_version", "cuda_version")},
        "errors": topology.get("errors", {}),
        "process": topology.get("processes", {}),
        "count": len(gpus),
        "gpu": dict(enumerate(gpus)),
        "pair": {
            f"{a}.{b}": topology.get("every_pair", {}) | pairs.get(f"{a}-{b}", {})
            for a, b in combinations(range(len(gpus)), 2)
        },
    }


def _gpu(given: dict[str, Any]) -> dict[str, Any]:
    gpu = {key: value for key, value in given.items() if key not in _REWRITTEN}
    if "memory_mib" in given:
        gpu["memory"] = {key: value * _MIB for key, value in given["memory_mib"].items()}
    for kind in {"compute", "graphics"} & set(given):
        gpu[kind] = _numbered([_process(**process) for process in given[kind]])
    if "nvlinks" in given:
        gpu["nvlink"] = _numbered([link for each in given["nvlinks"] for link in _lanes(each)])
    if "mig" in given:
        gpu |= {"mig_mode": 1, "max_mig": 7}
        gpu["mig"] = {place: _gpu(each) for place, each in enumerate(given["mig"]) if each}
    return gpu


def _process(pid: int, used_mib: int | None = None) -> dict[str, Any]:
    """Without `used_mib` the driver hides what it holds."""
    return {"pid": pid, "used": None if used_mib is None else used_mib * _MIB}


def _lanes(link: dict[str, Any]) -> list[dict[str, Any]]:
    """{"to": bus id, "type": "switch", "lanes": 4} is four links; without `to` they are down."""
    to = link.get("to")
    lane = {
        "active": int(to is not None),
        "to": to,
        "type": _DEVICE_TYPES.get(link.get("type", "")),
    }
    return [lane] * link["lanes"]


def _numbered(items: list[dict[str, Any]]) -> dict[Any, Any]:
    return {"count": len(items)} | dict(enumerate(items))


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield at, value
        return
    for key, item in value.items():
        yield from _flat(item, f"{at}.{key}" if at else str(key))

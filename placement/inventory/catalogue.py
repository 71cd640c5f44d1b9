"""GPUs by name, for what-if: "RTX 4090", "h100", or as NVML writes them. Pure but for the data."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from common.errors import UsageError
from placement.inventory.gpu_specs import Flops, GpuSpec, specs
from placement.inventory.inventory import Cpu, Gpu, Inventory, Link

__all__ = ["Flops", "GpuSpec", "boxed", "find", "match", "specs"]

_BRANDS = frozenset({"nvidia", "geforce", "tesla", "apple"})
_MAX_GPUS = 64
_SAME_MEMORY = 0.02  # what one Mac may differ from its nameplate


def find(name: str) -> GpuSpec:
    """The GPU that a person means. Raises UsageError with the nearest names."""
    exact = [spec for spec in specs() if _squeezed(name) in _keys(spec)]
    found = exact or [spec for spec in specs() if _mentions(spec, _words(name))]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(repr(spec.name) for spec in found)
        raise UsageError(f"GPU {name!r} may be any of {names}; name one of them")
    raise UsageError(f"GPU {name!r} is not in the catalogue; {_nearest(name)}")


def match(nvml_name: str | None, total_bytes: int | None = None) -> GpuSpec | None:
    """The spec of a GPU as NVML names it; `total_bytes` tells Macs of the same chip apart."""
    found = [spec for spec in specs() if nvml_name in spec.nvml_names]
    if len(found) > 1 and total_bytes:
        found = [
            spec
            for spec in found
            if abs(spec.memory_bytes - total_bytes) <= _SAME_MEMORY * spec.memory_bytes
        ]
    return found[0] if len(found) == 1 else None


def boxed(wanted: Sequence[tuple[str, int]]) -> Inventory:
    """A box with these GPUs, empty and idle. Of its CPU nothing is known: no cores, no memory."""
    kinds = [spec for name, count in wanted for spec in [find(name)] * _checked(name, count)]
    if len(kinds) > 1 and any(spec.kind != "discrete" for spec in kinds):
        odd = next(spec for spec in kinds if spec.kind != "discrete")
        raise UsageError(f"{odd.name} stands alone in its box; ask for one of it, and no other GPU")
    if len(kinds) > _MAX_GPUS:
        raise UsageError(f"{len(kinds)} GPUs are more than one box holds; at most {_MAX_GPUS}")
    return Inventory(
        cpu=Cpu(None, (), (), 0, 0),
        gpus=tuple(_gpu(index, spec) for index, spec in enumerate(kinds)),
        links=tuple(_links(kinds)),
    )


def _checked(name: str, count: int) -> int:
    if not 1 <= count <= _MAX_GPUS:
        raise UsageError(f"GPU {name!r}: {count} of it cannot be; ask for 1 to {_MAX_GPUS}")
    return count


def _gpu(index: int, spec: GpuSpec) -> Gpu:
    total = spec.memory_bytes if spec.kind == "apple" else spec.nvml_total_bytes
    total = total or spec.cuda_total_bytes
    return Gpu(
        index=index,
        kind=spec.kind,
        name=spec.nvml_names[0],
        total_bytes=total,
        reserved_bytes=total - spec.cuda_total_bytes,
        used_bytes=0,
        free_bytes=spec.cuda_total_bytes,
        compute_capability=spec.compute_capability,
        processes=(),
    )


def _links(kinds: Sequence[GpuSpec]) -> Iterator[Link]:
    for (a, one), (b, other) in combinations(enumerate(kinds), 2):
        if one.nvlink is False or one != other:
            yield Link(a, b, nvlinks=0)
        else:
            yield Link(a, b, nvlinks=one.nvlinks, p2p=one.nvlink)


def _keys(spec: GpuSpec) -> set[str]:
    return {_squeezed(name) for name in (spec.name, *spec.nvml_names, *spec.nicknames)}


def _squeezed(name: str) -> str:
    """Without brand, blanks and punctuation: "RTX-4090" and "nvidia geforce rtx4090" are one."""
    return "".join(word for word in re.findall(r"[a-z0-9]+", name.lower()) if word not in _BRANDS)


def _words(name: str) -> set[str]:
    """Words without brand; "80", "80G" and "80GB" are one."""
    found = re.findall(r"[a-z0-9]+", name.lower())
    return {re.sub(r"^(\d+)gb?$", r"\1", word) for word in found} - _BRANDS


def _mentions(spec: GpuSpec, words: set[str]) -> bool:
    return bool(words) and any(words <= _words(name) for name in (spec.name, *spec.nicknames))


def _nearest(name: str) -> str:
    keys = {_squeezed(key): spec.name for spec in specs() for key in (spec.name, *spec.nicknames)}
    close = difflib.get_close_matches(_squeezed(name), keys, n=5, cutoff=0.5)
    names = dict.fromkeys(keys[key] for key in close) or dict.fromkeys(keys.values())
    return f"{'nearest' if close else 'known'} are {', '.join(map(repr, names))}"

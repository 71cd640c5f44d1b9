"""A last look at the GPUs before an engine starts on them: the plan may be minutes old.

A process that has just died holds its memory for some seconds more, so a shortage is waited out
for a while before it is an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from common.errors import OutOfMemoryError
from common.units import format_bytes
from placement.inventory.inventory import Gpu

_PERIOD_S = 1.0


def wait_for_room(
    gpu_ids: Collection[str],
    needed_bytes: int,
    read: Callable[[], Sequence[Gpu]],
    timeout_s: float = 30.0,
) -> None:
    """Returns when each of the GPUs has that much free. Raises OutOfMemoryError when it is late."""
    give_up_at = time.monotonic() + timeout_s
    while short := shortage(gpu_ids, needed_bytes, read()):
        if time.monotonic() > give_up_at:
            raise OutOfMemoryError(short)
        time.sleep(_PERIOD_S)


def shortage(gpu_ids: Collection[str], needed_bytes: int, gpus: Sequence[Gpu]) -> str:
    """What is wrong with the first GPU that has too little; empty when all have enough."""
    by_id = {gpu.uuid if gpu.kind == "mig" else str(gpu.index): gpu for gpu in gpus}
    for gpu_id in gpu_ids:
        gpu = by_id.get(gpu_id)
        if gpu is None:
            return f"GPU {gpu_id} is not there any more; see `roundhouse gpus`"
        if gpu.error:
            return f"GPU {gpu_id} cannot be used: {gpu.error}"
        if gpu.free_bytes is not None and gpu.free_bytes < needed_bytes:
            return (
                f"GPU {gpu_id} has {format_bytes(gpu.free_bytes)} free, the engine is planned with "
                f"{format_bytes(needed_bytes)}{_holders(gpu)}"
            )
    return ""


def _holders(gpu: Gpu) -> str:
    told = [
        f"{process.name or 'process'} {process.pid}"
        + (f" ({format_bytes(process.used_bytes)})" if process.used_bytes else "")
        for process in gpu.processes or ()
    ]
    return f"; it is held by {', '.join(told)}" if told else ""

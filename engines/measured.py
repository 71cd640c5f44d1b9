"""What a running engine really takes, by device as engines.manager.amounts names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import psutil

from engines.manager.amounts import Bytes
from engines.warden import family
from placement.inventory import nvml


def measured(pids: Iterable[int], *, on_gpus: bool) -> Bytes | None:
    """Of these processes and all that they own; None where that cannot be read. Takes some
    milliseconds.

    Of main memory it is the resident set, in which shared pages count for each process.
    """
    processes = [process for pid in pids for process in family(pid)]
    return (_on_gpus if on_gpus else _in_ram)(processes)


def _in_ram(processes: Iterable[psutil.Process]) -> Bytes | None:
    resident: list[int] = []
    for process in processes:
        try:
            resident.append(process.memory_info().rss)
        except psutil.Error:
            continue  # gone meanwhile
    return {"ram": sum(resident)} if resident else None


def _on_gpus(processes: Iterable[psutil.Process]) -> Bytes | None:
    pids = {process.pid for process in processes}
    held: Counter[str] = Counter()
    for gpu in nvml.read().gpus:
        name = f"gpu:{gpu.uuid if gpu.kind == 'mig' else gpu.index}"
        for process in gpu.processes or ():
            if process.pid in pids and process.used_bytes is not None:
                held[name] += process.used_bytes
    return dict(held) or None

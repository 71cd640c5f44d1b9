"""llama.cpp's own HTTP server in a process of its own: `python -m engines.llamacpp_server`.

Standard input brings one line, the parameters as JSON, and ends when the owner does: then this
process ends too. Standard output takes one line of JSON, the address or the error; what llama.cpp
prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, TextIO

from common.errors import StartError

_ENOUGH_LAYERS_ON_GPU = 1


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_owner, daemon=True).start()
    try:
        server = _start(asked["parameters"], asked["cores"])
    except Exception as error:  # noqa: BLE001  # whatever it is, the start has failed by it
        _tell(answers, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    _tell(answers, {"url": server.listening_address})
    threading.Event().wait()


def _start(parameters: dict[str, Any], cores: list[int]) -> Any:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # threads that are started later have it from here
    import xllamacpp

    if parameters["n_gpu_layers"] >= _ENOUGH_LAYERS_ON_GPU:
        _require_gpu(xllamacpp.get_device_info())
    return xllamacpp.Server(applied(parameters, xllamacpp.CommonParams()))


def applied(parameters: dict[str, Any], to: Any) -> Any:
    """Sets each value where its dotted path leads; sets travel as lists in JSON."""
    for path, value in parameters.items():
        *parents, name = path.split(".")
        target = to
        for parent in parents:
            target = getattr(target, parent)
        if not hasattr(target, name):
            raise StartError(f"this xllamacpp has no parameter {path!r}; install a newer one")
        kind = type(getattr(target, name))
        setattr(target, name, set(value) if kind is set else value)
    return to


def _require_gpu(devices: list[dict[str, Any]]) -> None:
    """The wheel of the package index is for the CPU, or Metal on macOS."""
    if not any("CPU" not in str(device.get("name", "")).upper() for device in devices):
        raise StartError(
            "this xllamacpp was built without GPU support, and the plan puts the model on a GPU; "
            "install a build for it (docs/engines.md), or set gpu.devices: [] to use the CPU"
        )


def _tell(answers: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=answers, flush=True)


def _end_with_owner() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()

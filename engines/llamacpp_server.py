"""llama.cpp's own HTTP server in a process of its own: `python -m engines.llamacpp_server`.

What is asked is the parameters (child_server.py has the rest).
"""

from __future__ import annotations

from typing import Any

from common.errors import StartError
from engines import child_server

_ENOUGH_LAYERS_ON_GPU = 1


def main() -> None:
    child_server.run(lambda asked: _start(asked["parameters"]))


def _start(parameters: dict[str, Any]) -> tuple[str, object]:
    import xllamacpp

    if parameters["n_gpu_layers"] >= _ENOUGH_LAYERS_ON_GPU:
        _require_gpu(xllamacpp.get_device_info())
    server = xllamacpp.Server(applied(parameters, xllamacpp.CommonParams()))
    return server.listening_address, server


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


if __name__ == "__main__":
    main()

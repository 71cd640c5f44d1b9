"""`roundhouse` on a box whose GPUs are fake: all is planned and placed on them, but the engines
run on the CPU. Run as `python -m tests.fakes.on_cpu serve ...`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any


def stub_metadata(folder: Path) -> str:
    """A PYTHONPATH that lets vLLM know that it is the CPU build; else it takes the fake GPUs."""
    info = folder / "vllm-0.32.0+cpu.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
    return str(folder)


def _on_cpu(spec: Any) -> Any:
    """The same place and command, less what is only for a GPU."""
    args = {k: v for k, v in spec.engine_args.items() if k != "gpu_memory_utilization"}
    return replace(spec, on_cpu=True, engine_args=args)


def run() -> None:
    import cli.serve
    from cli.main import main

    ray_environment = cli.serve._ray_environment

    def patched() -> dict[str, str]:
        """Ray reads its environment when it is imported, which serve_app does."""
        os.environ.update(variables := ray_environment())
        import serve_app

        planned = serve_app.specs_of
        serve_app.specs_of = lambda *given: [_on_cpu(spec) for spec in planned(*given)]
        return variables

    cli.serve._ray_environment = patched
    main()


if __name__ == "__main__":
    run()

"""`roundhouse` on a box whose GPUs are fake: all is planned and placed on them, but the engines,
which must be llama.cpp's, run on the CPU. Run as `python -m tests.fakes.on_cpu serve ...`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any


def _on_cpu(spec: Any) -> Any:
    """The same place and command."""
    return replace(spec, on_cpu=True)


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

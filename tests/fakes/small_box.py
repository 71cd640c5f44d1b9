"""`python -m tests.fakes.small_box ARGUMENTS`: the `roundhouse` command on a box of less memory.

SMALL_BOX_MIB says how much of it is left. Everything else is as it is.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from placement.inventory import look


def shrink() -> None:
    real = look.look

    def small(*given: Any, **named: Any) -> Any:
        box = real(*given, **named)
        left = int(os.environ["SMALL_BOX_MIB"]) << 20
        return replace(box, gpus=(), cpu=replace(box.cpu, available_memory_bytes=left))

    look.look = small


if __name__ == "__main__":
    shrink()
    from cli.main import main

    main()

"""Memory that is really not there: a limit on the llama.cpp servers that start while it is set.

It is the kernel's own limit, as `ulimit` or a service's settings would give it, so that the engine
runs out by itself and in its own words, and the box does not.
"""

from __future__ import annotations

import os
from pathlib import Path

_FILE = "SCARCITY_FILE"
_SITECUSTOMIZE = f"""
import os, pathlib, resource, sys

file = pathlib.Path(os.environ["{_FILE}"])
if "engines.llamacpp_server" in sys.orig_argv and file.exists():
    limit_bytes = int(file.read_text())
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
"""


class Scarcity:
    """`variables` are for the server's environment, so that its processes heed the limit."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        self._file = folder / "limit_bytes"
        self.variables = {"PYTHONPATH": os.fspath(folder), _FILE: os.fspath(self._file)}

    def begin(self, limit_bytes: int) -> None:
        self._file.write_text(str(limit_bytes))

"""Why llama.cpp did not start.

Its exceptions only say that it did not start; the reason stands in its log.
"""

from __future__ import annotations

import re

from engines.startup_log import Cause

_CAUSE = re.compile(
    r"error loading model\b.*|unknown model architecture.*|invalid magic.*"
    r"|tensor .* out of bounds.*|failed to allocate.*|unable to allocate.*|out of memory.*"
    r"|failed to open.*|couldn't bind.*|the request to listen.*failed.*",
    re.IGNORECASE,
)
_OUT_OF_MEMORY = re.compile(
    r"out of memory|failed to allocate|unable to allocate|bad_alloc|exit code -9", re.IGNORECASE
)


def cause(text: str, own: str) -> Cause:
    """The first reason that the log of a start gives; what follows it are consequences."""
    match = _CAUSE.search(text)
    message = f"llama.cpp: {match[0].strip()}" if match else own
    return Cause(message, bool(_OUT_OF_MEMORY.search(message)))

"""What llama.cpp tells: why it did not start, and what its prompt caches were good for.

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
_COUNTED = re.compile(r"^llamacpp:(prompt_tokens(?:_cached)?_total) (\S+)$", re.MULTILINE)


def cause(text: str, own: str) -> Cause:
    """The first reason that the log of a start gives; what follows it are consequences."""
    match = _CAUSE.search(text)
    message = f"llama.cpp: {match[0].strip()}" if match else own
    return Cause(message, bool(_OUT_OF_MEMORY.search(message)))


def prompt_tokens(metrics: str) -> tuple[int | None, int | None]:
    """Prompt tokens that were found in a cache, and those that had to be computed."""
    counted = dict(_COUNTED.findall(metrics))
    hits, fresh = counted.get("prompt_tokens_cached_total"), counted.get("prompt_tokens_total")
    return (None if hits is None else int(float(hits))), (
        None if fresh is None else int(float(fresh))
    )

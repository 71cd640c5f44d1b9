"""What an engine's metrics tell of its prompt caches."""

from __future__ import annotations

import re

_COUNTED = re.compile(r"^(?:llamacpp|mlx):(prompt_tokens(?:_cached)?_total) (\S+)$", re.MULTILINE)


def prompt_tokens(metrics: str) -> tuple[int | None, int | None]:
    """Prompt tokens that were found in a cache, and those that had to be computed."""
    counted = dict(_COUNTED.findall(metrics))
    hits, fresh = counted.get("prompt_tokens_cached_total"), counted.get("prompt_tokens_total")
    return (None if hits is None else int(float(hits))), (
        None if fresh is None else int(float(fresh))
    )

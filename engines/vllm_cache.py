"""vLLM's prefix cache as its server's process knows it: how much it holds, and what it has counted.

The counters are the ones that vLLM shows at /metrics. It runs in this process, so they are read
where they are: no request, and 20 us instead of a page of hundreds of lines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from engines.base import EngineStatus

# So named by every version from 0.28 to 0.33.
_QUERIES: Final = "vllm:prefix_cache_queries_total"
_HITS: Final = "vllm:prefix_cache_hits_total"


def held_tokens(client: Any, kv_cache_tokens: int | None) -> int | None:
    """What prefixes can be kept of the whole KV cache: all of it, or nothing when turned off."""
    config = getattr(getattr(client, "vllm_config", None), "cache_config", None)
    return 0 if getattr(config, "enable_prefix_caching", None) is False else kv_cache_tokens


def with_counts(status: EngineStatus) -> EngineStatus:
    """The status and what the cache has counted; as it was with `disable_log_stats`."""
    from prometheus_client import REGISTRY

    counted: dict[str, float] = {}
    for metric in REGISTRY.restricted_registry((_QUERIES, _HITS)).collect():
        for sample in metric.samples:  # one for each engine core
            counted[sample.name] = counted.get(sample.name, 0.0) + sample.value
    if counted.keys() != {_QUERIES, _HITS}:
        return status
    return replace(status, prefix_queries=int(counted[_QUERIES]), prefix_hits=int(counted[_HITS]))

"""How much of an engine's cache keeps prefixes. The counters are in test_vllm.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engines.vllm_cache import held_tokens


def client(**cache_config: Any) -> Any:
    return SimpleNamespace(
        vllm_config=SimpleNamespace(cache_config=SimpleNamespace(**cache_config))
    )


@pytest.mark.parametrize("kv_tokens", [4096, None])
def test_it_is_all_of_it_unless_caching_is_off(kv_tokens: int | None) -> None:
    assert held_tokens(client(enable_prefix_caching=True), kv_tokens) == kv_tokens
    assert held_tokens(client(enable_prefix_caching=None), kv_tokens) == kv_tokens
    assert held_tokens(client(), kv_tokens) == kv_tokens
    assert held_tokens(object(), kv_tokens) == kv_tokens
    assert held_tokens(client(enable_prefix_caching=False), kv_tokens) == 0

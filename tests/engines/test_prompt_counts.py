"""What engines' metrics say of their prompt caches."""

from __future__ import annotations

from engines.mlx_handler import Counts
from engines.prompt_counts import prompt_tokens

METRICS = """# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 2073
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total 204
llamacpp:prompt_tokens_seconds 96.878
"""


def test_of_llama_cpp() -> None:
    assert prompt_tokens(METRICS) == (204, 2073)
    assert prompt_tokens("# nothing") == (None, None)
    assert prompt_tokens("llamacpp:prompt_tokens_total 1e+06") == (None, 1_000_000)


def test_of_mlx() -> None:
    counts = Counts()
    assert prompt_tokens(counts.in_prometheus_format()) == (0, 0)
    counts.add(n_tokens=100, n_cached=60)
    counts.add(n_tokens=10, n_cached=-1)  # not looked up
    assert prompt_tokens(counts.in_prometheus_format()) == (60, 50)

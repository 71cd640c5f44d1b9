"""What an answer costs."""

from __future__ import annotations

import pytest

from common.remote_config import PriceConfig
from engines import prices
from engines.prices import Tokens, per_million, price_of


def test_the_configs_price_wins() -> None:
    price = price_of(PriceConfig(input=2, output=8), "openai", "https://a/v1", "gpt-4.1")
    assert price is not None
    assert price(Tokens(1_000_000, 500_000)) == 6.0
    assert price(Tokens(0, 0)) == 0.0


def test_published_prices() -> None:
    pytest.importorskip("genai_prices")
    price = price_of(None, "openai", "https://api.openai.com/v1", "gpt-4.1")
    assert price is not None
    dear, cached = price(Tokens(1000, 0)), price(Tokens(1000, 0, cache_read=900))
    assert dear is not None
    assert cached is not None
    assert 0 < cached < dear


def test_a_price_that_nobody_knows_stays_unknown() -> None:
    assert price_of(None, "openai", "https://api.openai.com/v1", "no-such-model-zzz") is None
    assert price_of(None, None, "http://127.0.0.1:1/v1", "gpt-4.1") is None


def test_without_the_table_no_price_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(prices.importlib, "import_module", missing)
    assert price_of(None, "openai", "https://api.openai.com/v1", "gpt-4.1") is None


def test_a_million_tokens_are_mostly_prompt() -> None:
    price = price_of(PriceConfig(input=2, output=8), None, "https://a/v1", "m")
    assert per_million(price) == pytest.approx(0.8 * 2 + 0.2 * 8)
    assert per_million(None) is None

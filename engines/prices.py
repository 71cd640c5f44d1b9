"""What a remote model's answers cost: by the config's price, or by genai-prices' offline table.

A price that nobody knows stays unknown: None, never 0.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from common.remote_config import PriceConfig

_MILLION = 1_000_000


@dataclass(frozen=True)
class Tokens:
    """What one answer took. `prompt` includes what was read from and written to a cache."""

    prompt: int
    completion: int
    cache_read: int = 0
    cache_write: int = 0


Price = Callable[[Tokens], float | None]


def price_of(
    config: PriceConfig | None, provider: str | None, url: str, model: str
) -> Price | None:
    """US dollars for an answer; None where neither the config nor the table knows the model."""
    if config is not None:
        return _given(config)
    price = _published(provider, url, model)
    return price if price and price(Tokens(1, 1)) is not None else None


def per_million(price: Price | None) -> float | None:
    """One figure for a million tokens, of which four fifths are the prompt: as in a plan's requests
    of 1,024 tokens in and 256 out."""
    return price(Tokens(_MILLION * 4 // 5, _MILLION // 5)) if price else None


def _given(config: PriceConfig) -> Price:
    def price(tokens: Tokens) -> float:
        dollars = tokens.prompt * config.input + tokens.completion * config.output
        return dollars / _MILLION

    return price


def _published(provider: str | None, url: str, model: str) -> Price | None:
    """The table is an optional dependency; without it no price is known."""
    try:
        table = importlib.import_module("genai_prices")
    except ModuleNotFoundError:
        return None

    def price(tokens: Tokens) -> float | None:
        usage = table.Usage(
            input_tokens=tokens.prompt,
            output_tokens=tokens.completion,
            cache_read_tokens=tokens.cache_read or None,
            cache_write_tokens=tokens.cache_write or None,
        )
        where = {"provider_id": provider} if provider else {"provider_api_url": url}
        try:
            return float(table.calc_price(usage, model, **where).total_price)
        except LookupError:
            return None

    return price

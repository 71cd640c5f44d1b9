"""What a run of a batch came to, by model."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cli.batch.outcome import Outcome

N = TypeVar("N", int, float)


@dataclass
class ModelFigures:
    requests: int = 0
    failed: int = 0
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    latencies_s: array[float] = field(default_factory=lambda: array("d"))  # of answers

    def add(self, outcome: Outcome) -> None:
        self.requests += 1
        if not outcome.is_answer:
            self.failed += 1
            return
        self.latencies_s.append(outcome.latency_s)
        usage = outcome.usage
        self.tokens_in = _sum(self.tokens_in, usage.tokens_in)
        self.tokens_out = _sum(self.tokens_out, usage.tokens_out)
        self.cost_usd = _sum(self.cost_usd, usage.cost_usd)

    def told(self, model: str, elapsed_s: float) -> dict[str, Any]:
        """What no answer told is None."""
        out = self.tokens_out
        return {
            "model": model,
            "requests": self.requests,
            "failed": self.failed,
            "tokens_in": self.tokens_in,
            "tokens_out": out,
            "tokens_per_s": None if out is None else round(out / max(elapsed_s, 1e-3), 1),
            "latency_p50_s": quantile(self.latencies_s, 0.5),
            "latency_p95_s": quantile(self.latencies_s, 0.95),
            "cost_usd": self.cost_usd,
        }


class Figures:
    """Of this run alone; what earlier ones did is only counted."""

    def __init__(self) -> None:
        self.models: dict[str, ModelFigures] = {}

    @property
    def requests(self) -> int:
        return sum(each.requests for each in self.models.values())

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.models.values())

    def add(self, outcome: Outcome) -> None:
        self.models.setdefault(outcome.model, ModelFigures()).add(outcome)

    def told(self, elapsed_s: float) -> list[dict[str, Any]]:
        return [each.told(name, elapsed_s) for name, each in sorted(self.models.items())]


def quantile(values: array[float], share: float) -> float | None:
    """The smallest value that at least this share of them does not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return round(ordered[max(0, int(rank) - 1)], 3)


def _sum(total: N | None, more: N | None) -> N | None:
    return total if more is None else (total or 0) + more

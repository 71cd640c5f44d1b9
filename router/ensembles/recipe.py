"""What one request wants of an ensemble, whichever way it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from common.ensemble_section import EnsembleSection


@dataclass(frozen=True, slots=True)
class Recipe:
    """`name` is as it was asked for; `spec`, frozen and checked, holds its members and options."""

    name: str
    spec: EnsembleSection

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def members(self) -> tuple[str, ...]:
        return self.spec.members

    @property
    def max_requests(self) -> int:
        """The most answers that it may have generated."""
        return min(self.spec.requests, self.spec.budget.requests or self.spec.requests)

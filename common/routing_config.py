"""The parts of `router:` that say what happens when an engine fails."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Self, get_args

from pydantic import Field, model_validator

from common.errors import Trigger
from common.section import Section
from common.units import Duration

TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
# Another replica of the same model has the same context.
RETRY_TRIGGERS = tuple(trigger for trigger in TRIGGERS if trigger != "context_too_long")

# By model: the others that may answer for it, in order.
Fallbacks = dict[str, tuple[str, ...]]


class RetryConfig(Section):
    """Other replicas to try before an answer's first byte."""

    max: Annotated[int, Field(ge=0, le=10)] = 2
    on: tuple[Trigger, ...] = Field(RETRY_TRIGGERS, description="What is tried again.")
    budget: Annotated[float, Field(ge=0, le=1)] = Field(
        0.2, description="Retries of a model as a share of its requests within budget_window."
    )
    budget_min: Annotated[int, Field(ge=0)] = Field(
        100, description="Retries within budget_window that are allowed however few requests come."
    )
    budget_window_s: Duration = Field(10.0, alias="budget_window")
    backoff_s: Duration = Field(
        0.1,
        alias="backoff",
        description="Pause before the same replica is asked again; doubles, with jitter.",
    )
    backoff_max_s: Duration = Field(
        2.0,
        alias="backoff_max",
        description="Longest such pause; a longer Retry-After is passed on instead.",
    )
    deadline_s: Duration | None = Field(
        None,
        alias="deadline",
        description="From a request's arrival to its last byte, all attempts; past it, 504.",
    )


class FallbackConfig(Section):
    """When another model answers; which one is said by `fallbacks`."""

    on: tuple[Trigger, ...] = Field(TRIGGERS, description="What sends a request to another model.")


class BreakerConfig(Section):
    """When a replica that keeps failing is left alone, and how it comes back."""

    failures: Annotated[int, Field(ge=1)] = Field(
        5, description="Failures in a row that open the breaker."
    )
    open_s: Duration = Field(30.0, alias="open", description="How long it gets no requests then.")
    successes: Annotated[int, Field(ge=1)] = Field(
        2, description="Successful probes, one at a time, that close it again."
    )


class HedgeConfig(Section):
    """A second replica for a streamed request whose first byte is late."""

    enabled: bool = False
    quantile: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.95, description="Late is past this quantile of the model's recent times to first byte."
    )
    budget: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="Second requests as a share of the model's streamed ones."
    )
    min_wait_s: Duration = Field(
        0.02, alias="min_wait", description="Nothing is late before this much time."
    )

    @model_validator(mode="after")
    def _budget_is_for_something(self) -> Self:
        if self.enabled and not self.budget:
            raise ValueError("budget: 0 allows no second request; leave hedge disabled instead")
        return self


class ResumeConfig(Section):
    """A streamed answer that breaks is gone on with by another replica of the same model."""

    enabled: bool = False
    max: Annotated[int, Field(ge=1, le=10)] = Field(
        2, description="Other replicas that are asked for the rest of one answer."
    )


def check_fallbacks(fallbacks: Mapping[str, Collection[str]], models: Collection[str]) -> None:
    """Raises ValueError for a name that is no model, a model that is its own, or a name twice."""
    for name, others in fallbacks.items():
        for each in (name, *others):
            if each not in models:
                raise ValueError(
                    f"router.fallbacks.{name}: no model {each!r}; there are: {', '.join(models)}"
                )
        if name in others:
            raise ValueError(f"router.fallbacks.{name}: {name!r} cannot stand in for itself")
        if len(set(others)) != len(others):
            raise ValueError(f"router.fallbacks.{name}: names a model twice")

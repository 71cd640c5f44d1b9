"""What `router:` says of failures: the defaults, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from common.routing_config import (
    TRIGGERS,
    BreakerConfig,
    FallbackConfig,
    HedgeConfig,
    ResumeConfig,
    RetryConfig,
)


def test_the_defaults() -> None:
    retry, breaker, hedge = RetryConfig(), BreakerConfig(), HedgeConfig()
    assert (retry.max, retry.budget, retry.deadline_s) == (2, 0.2, None)
    assert (breaker.failures, breaker.open_s, breaker.successes) == (5, 30.0, 2)
    assert (hedge.enabled, hedge.quantile, hedge.budget) == (False, 0.95, 0.05)
    assert ResumeConfig().enabled is False


def test_all_triggers_lead_to_another_model_and_all_but_one_to_another_replica() -> None:
    assert FallbackConfig().on == TRIGGERS
    assert set(TRIGGERS) - set(RetryConfig().on) == {"context_too_long"}


@pytest.mark.parametrize(
    ("section", "value"),
    [
        (RetryConfig, {"on": ["oom"]}),
        (RetryConfig, {"max": 11}),
        (RetryConfig, {"budget": 1.5}),
        (RetryConfig, {"backoff": "0s"}),
        (FallbackConfig, {"on": ["4xx"]}),
        (BreakerConfig, {"failures": 0}),
        (BreakerConfig, {"closed": "1s"}),
        (HedgeConfig, {"quantile": 1.0}),
        (HedgeConfig, {"enabled": True, "budget": 0}),
        (ResumeConfig, {"max": 0}),
    ],
)
def test_what_makes_no_sense_is_refused(section: type[RetryConfig], value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section.model_validate(value)


def test_durations_are_written_as_elsewhere() -> None:
    retry = RetryConfig.model_validate({"deadline": "10m", "backoff": "50ms"})
    assert (retry.deadline_s, retry.backoff_s) == (600.0, 0.05)

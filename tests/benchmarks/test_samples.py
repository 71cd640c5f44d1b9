"""Comparison within rounds."""

import pytest

from benchmarks.load import LoadResult, Quantiles
from benchmarks.samples import Sample, Spread, added, ratio, values


def result(rate: float, failures: dict[str, int] | None = None) -> LoadResult:
    times = Quantiles(0.0, rate / 100, 0.0, 0.0)
    return LoadResult(
        concurrency=1,
        requests=1,
        succeeded=1,
        failures=failures or {},
        duration_s=1.0,
        output_tokens=1,
        chunks=1,
        requests_per_s=rate,
        output_tokens_per_s=rate,
        chunks_per_s=rate,
        ttft_s=times,
        itl_s=times,
        tpot_s=times,
        e2el_s=times,
    )


def sample(number: int, target: str, rate: float, point: str = "p") -> Sample:
    return Sample(number, target, point, result(rate), cpu_s=0.5)


SAMPLES = [
    *(sample(number, "bare", rate) for number, rate in enumerate([100, 50, 10])),
    *(sample(number, "router", rate) for number, rate in enumerate([90, 50, 5])),
    sample(3, "router", 1000),  # a round that the other lacks
    sample(0, "router", 7, point="other"),
]


def rate(each: Sample) -> float:
    return each.result.requests_per_s


def test_the_ratio_is_taken_within_a_round() -> None:
    assert ratio(SAMPLES, "router", "bare", "p", rate) == Spread(0.9, 0.5, 1.0)


def test_so_is_the_difference() -> None:
    assert added(SAMPLES, "router", "bare", "p", rate) == Spread(-5, -10, 0)


def test_values_are_of_one_target_and_point() -> None:
    assert values(SAMPLES, "bare", "p", rate) == Spread(50, 10, 100)
    assert values(SAMPLES, "router", "other", rate) == Spread(7, 7, 7)


@pytest.mark.parametrize(("target", "point"), [("nobody", "p"), ("bare", "nowhere")])
def test_nothing_measured_is_none(target: str, point: str) -> None:
    assert values(SAMPLES, target, point, rate) is None
    assert ratio(SAMPLES, target, "router", point, rate) is None

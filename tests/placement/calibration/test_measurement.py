"""What a start's report says beside its prediction, and what follows where it says little."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.calibration.measurement import TERMS, Row, compare, measure
from placement.calibration.startup_report import StartupReport
from tests.placement.starts import CPU, SETTINGS, gib, predicted, told

NOW = "2026-11-21T12:00:00+00:00"


def error_of(rows: list[Row], term: str) -> float | None:
    return next(row.error for row in rows if row.term == term)


def test_every_term_that_was_told_is_compared() -> None:
    report = replace(
        told(
            weights=8.0,
            activation=1.25,
            non_torch=0.25,
            cudagraph_reserved=0.4,
            kv_cache=10.0,
            requested=20.0,
        ),
        kv_cache_tokens=100,
        max_concurrency=2.0,
    )
    rows = compare(predicted(), report)
    assert [row.term for row in rows] == [*TERMS, "kv_cache", "kv_cache_tokens", "max_concurrency"]
    assert error_of(rows, "weights") == 0
    assert error_of(rows, "activation") == pytest.approx(-0.2)
    assert error_of(rows, "cudagraph") == pytest.approx(0.25)
    assert error_of(rows, "kv_cache") == pytest.approx(0.025)


def test_a_term_reported_as_nothing_has_no_relative_error() -> None:
    rows = compare(predicted(), told(cudagraph_reserved=0.0))
    assert rows == [Row("cudagraph", gib(0.5), 0)]
    assert rows[0].error is None


def test_what_was_not_told_is_not_compared() -> None:
    assert compare(predicted(), StartupReport()) == []


def test_the_rest_of_the_budget_is_the_term_that_was_not_told() -> None:
    report = told(weights=8.1, activation=1.2, cudagraph_reserved=0.5, kv_cache=9.0, requested=20.0)
    found = measure(predicted(), report, NOW)
    assert found.learnt["non_torch"] == pytest.approx(gib(20 - 9 - 8.1 - 1.2 - 0.5), abs=2)
    assert "non_torch" not in found.reported


@pytest.mark.parametrize(
    ("tp", "blamed", "spared"), [(1, "activation", "non_torch"), (2, "non_torch", "activation")]
)
def test_of_several_untold_terms_the_likeliest_takes_all_that_was_mistaken(
    tp: int, blamed: str, spared: str
) -> None:
    cold = predicted(settings=replace(SETTINGS, tp=tp))
    found = measure(cold, told(weights=8.1, kv_cache=9.0), NOW)
    assert found.learnt[blamed] == gib(20) - gib(9) - gib(8.1) - cold.term(spared) - gib(0.5)
    assert found.learnt[spared] == found.predicted[spared]
    assert found.learnt["cudagraph"] == found.predicted["cudagraph"]
    assert set(found.reported) == {"weights", "kv_cache"}


def test_weights_and_non_torch_in_one_sum_are_told_apart_by_the_prediction() -> None:
    report = told(consumed=9.0, cudagraph_reserved=0.0, kv_cache=9.0, requested=20.0)
    found = measure(predicted(), report, NOW)
    assert found.reported["non_torch"] == gib(9.0) - gib(8.0)
    assert found.learnt["activation"] == pytest.approx(gib(20 - 9 - 9), abs=2)
    assert "weights" not in found.learnt


def test_graphs_outside_of_the_budget_are_no_part_of_its_rest() -> None:
    cold = predicted(settings=replace(SETTINGS, vllm_version=(0, 19, 0)))
    report = told(weights=8.0, activation=1.0, cudagraph=0.9, kv_cache=10.0, requested=20.0)
    found = measure(cold, replace(report, cudagraph_reserved_bytes=0), NOW)
    assert found.learnt["non_torch"] == gib(1.0)
    assert found.learnt["cudagraph"] == found.reported["cudagraph"] == gib(0.9)


def test_a_given_kv_cache_says_nothing_of_the_rest() -> None:
    report = replace(told(weights=8.0, kv_cache=2.0, requested=20.0), kv_cache_set=True)
    found = measure(predicted(), report, NOW)
    assert set(found.reported) == {"weights", "kv_cache"}
    assert set(found.learnt) == {"weights"}


def test_neither_does_a_cpus() -> None:
    report = replace(told(kv_cache=0.5), kv_cache_tokens=23_296, max_concurrency=11.38)
    found = measure(predicted(device=CPU), report, NOW)
    assert set(found.reported) == {"kv_cache", "kv_cache_tokens", "max_concurrency"}
    assert found.learnt == {}


sizes = st.floats(0.01, 60)


@given(weights=sizes, activation=sizes, kv_cache=st.floats(-5, 60), budget=sizes)
def test_what_is_learnt_always_fills_the_budget(
    weights: float, activation: float, kv_cache: float, budget: float
) -> None:
    cold = predicted(budget=budget)
    report = told(weights=weights, activation=activation, kv_cache=kv_cache)
    found = measure(cold, report, NOW)
    assert set(found.learnt) == set(TERMS)
    assert sum(found.learnt.values()) + found.reported["kv_cache"] == gib(budget)


@pytest.mark.parametrize(
    ("name", "predicted_gib", "corrected_gib"),
    [
        ("non_torch", 2.0, 2.6),  # 0.6 GiB more than predicted, and so for any model
        ("activation", 4.0, 6.0),  # half as much again
        ("activation", 0.5, 0.75),
        ("activation", 9.0, 9.5),  # nine times the measured one: too far to scale
        ("activation", 0.0, 0.5),
        ("cudagraph", 1.0, 1.2),  # a small error stays as it is
        ("cudagraph", 2.0, 2.2),
    ],
)
def test_an_error_is_added_or_grows_with_the_model(
    name: str, predicted_gib: float, corrected_gib: float
) -> None:
    report = told(activation=1.5, non_torch=0.85, cudagraph_reserved=0.7)
    found = measure(predicted(), report, NOW).corrected(name, gib(predicted_gib))
    assert found == pytest.approx(gib(corrected_gib), abs=4)


def test_nothing_is_corrected_by_a_term_that_is_not_known_or_of_another_formula() -> None:
    measured = measure(predicted(), told(activation=1.5), NOW)
    assert measured.corrected("activation", gib(1)) is not None
    assert measured.corrected("weights", gib(1)) is None
    older = replace(measured, formula=measured.formula - 1)
    assert older.corrected("activation", gib(1)) is None


def test_a_calibrated_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="without calibration"):
        measure(predicted(basis="calibrated"), told(activation=1.5), NOW)


def test_the_version_is_the_reports_where_the_settings_name_none() -> None:
    cold = predicted(settings=replace(SETTINGS, vllm_version=None))
    report = replace(told(weights=8), vllm_version="0.26.1rc1.dev608+g99a10304d")
    assert measure(cold, report, NOW).conditions.version == (0, 26, 1)
    assert measure(cold, told(weights=8), NOW).conditions.version is None
    assert measure(predicted(), report, NOW).conditions.version == (0, 32, 0)

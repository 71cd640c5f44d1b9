"""What the next start is told from earlier ones, from the same start to a stranger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.calibration.calibration import Calibration
from placement.calibration.measurement import Measurement, measure
from placement.calibration.startup_report import StartupReport
from placement.footprint.settings import Device, Settings
from placement.models.facts import ModelFacts
from tests.placement.starts import H100, RTX_4090, SETTINGS, facts, gib, predicted, told

QWEN, LLAMA = facts(), facts("llama3", n_layers=6)
FULL = told(weights=8.2, activation=1.3, non_torch=0.45, cudagraph_reserved=0.9)


def started(
    report: StartupReport = FULL,
    model: ModelFacts = QWEN,
    settings: Settings = SETTINGS,
    device: Device = H100,
    day: int = 1,
) -> Measurement:
    cold = predicted(model=model, settings=settings, device=device)
    return measure(cold, report, f"2026-11-{day:02}T12:00:00+00:00")


def ask(
    calibration: Calibration,
    name: str,
    model: ModelFacts = QWEN,
    settings: Settings = SETTINGS,
    device: Device = H100,
    predicted_gib: float = 3.0,
) -> tuple[int, str] | None:
    return calibration.term(name, model, settings, device, gib(predicted_gib))


def test_without_starts_nothing_is_known() -> None:
    assert all(ask(Calibration(), name) is None for name in ("weights", "non_torch"))


@pytest.mark.parametrize(
    ("name", "reported"),
    [("weights", 8.2), ("activation", 1.3), ("non_torch", 0.45), ("cudagraph", 0.9)],
)
def test_the_same_start_gets_what_was_reported(name: str, reported: float) -> None:
    known = Calibration([started()])
    assert ask(known, name) == (gib(reported), "reported by 1 start of qwen3-14b")


def test_a_prediction_within_the_engines_rounding_is_the_finer_one() -> None:
    found = ask(Calibration([started()]), "weights", predicted_gib=8.2049)
    assert found == (gib(8.2049), "confirmed by 1 start of qwen3-14b")
    found = ask(Calibration([started()]), "weights", predicted_gib=8.206)
    assert found == (gib(8.2), "reported by 1 start of qwen3-14b")


def test_another_model_gets_its_prediction_and_the_error_of_the_last() -> None:
    known = Calibration([started()])  # its non-torch memory was 0.2 GiB more than predicted
    found = ask(known, "non_torch", LLAMA)
    assert found is not None
    assert found[0] == pytest.approx(gib(3.2), abs=2)
    assert found[1] == "learnt from 1 start of qwen3-14b on this GPU and version"


def test_of_several_errors_the_median_counts() -> None:
    reports = [told(activation=size) for size in (1.5, 2.0, 9.0)]
    known = Calibration(started(report, day=day) for day, report in enumerate(reports, 1))
    found = ask(known, "activation", LLAMA)
    assert found is not None
    assert found[0] == pytest.approx(gib(6.0), abs=2)
    assert "3 starts of qwen3-14b" in found[1]


def test_a_correction_stops_at_nothing() -> None:
    known = Calibration([started(told(non_torch=0.05))])  # 0.2 GiB less than predicted
    found = ask(known, "non_torch", LLAMA, predicted_gib=0.1)
    assert found is not None
    assert found[0] == 0


@pytest.mark.parametrize(
    ("settings", "device"),
    [
        (SETTINGS, RTX_4090),
        (replace(SETTINGS, vllm_version=(0, 31, 0)), H100),
        (replace(SETTINGS, vllm_version=None), H100),
    ],
)
def test_another_gpu_or_version_teaches_nothing_but_weights(
    settings: Settings, device: Device
) -> None:
    known = Calibration([started()])
    for name in ("activation", "non_torch", "cudagraph"):
        assert ask(known, name, settings=settings, device=device) is None
    assert ask(known, "weights", settings=settings, device=device) == (
        gib(8.2),
        "reported by 1 start of qwen3-14b",
    )


def test_a_patch_release_counts_as_near_and_not_as_the_same() -> None:
    found = ask(
        Calibration([started()]), "activation", settings=replace(SETTINGS, vllm_version=(0, 32, 1))
    )
    assert found is not None
    assert found[1].startswith("learnt from")


def test_weights_of_another_model_or_sharding_are_not_learnt() -> None:
    known = Calibration([started()])
    assert ask(known, "weights", LLAMA) is None
    assert ask(known, "weights", settings=replace(SETTINGS, tp=2)) is None
    assert ask(known, "weights", settings=replace(SETTINGS, quantization="fp8")) is None


def test_no_graphs_are_learnt_for_a_start_without_them() -> None:
    eager = replace(SETTINGS, enforce_eager=True)
    assert ask(Calibration([started()]), "cudagraph", settings=eager) is None


TWO = replace(SETTINGS, tp=2)
STAGES = replace(SETTINGS, pp=2)


def test_one_gpu_is_learnt_from_one_gpu_and_two_from_two() -> None:
    known = Calibration(
        [started(told(non_torch=0.35)), started(told(non_torch=1.25), settings=TWO)]
    )
    alone = ask(known, "non_torch", LLAMA)
    pair = ask(known, "non_torch", LLAMA, settings=TWO)
    four = ask(known, "non_torch", LLAMA, settings=replace(SETTINGS, tp=4))
    assert alone is not None
    assert pair is not None
    assert alone[0] == pytest.approx(gib(3.1), abs=2)
    assert pair[0] == pytest.approx(gib(4.0), abs=2)
    assert four == pair


def test_one_gpu_says_nothing_of_what_communication_takes() -> None:
    known = Calibration([started()])
    assert ask(known, "non_torch", LLAMA, settings=TWO) is None
    assert ask(known, "activation", LLAMA, settings=TWO) is not None


def test_a_pipeline_and_a_whole_model_say_nothing_of_each_other() -> None:
    for seed, asked in ((SETTINGS, STAGES), (STAGES, SETTINGS)):
        known = Calibration([started(settings=seed)])
        for name in ("activation", "non_torch", "cudagraph"):
            assert ask(known, name, LLAMA, settings=asked) is None
            assert ask(known, name, LLAMA, settings=seed) is not None


def test_what_an_older_formula_was_wrong_by_is_not_added() -> None:
    older = replace(started(), formula=0)
    assert ask(Calibration([older]), "activation", LLAMA) is None
    assert ask(Calibration([older]), "activation") == (gib(1.3), "reported by 1 start of qwen3-14b")


def test_a_start_whose_kv_cache_was_given_teaches_its_weights() -> None:
    given_size = replace(told(weights=8.2, kv_cache=2.0), kv_cache_set=True)
    known = Calibration([started(given_size)])
    assert ask(known, "activation", LLAMA) is None
    assert ask(known, "weights") == (gib(8.2), "reported by 1 start of qwen3-14b")


def test_the_latest_start_under_the_same_conditions_is_shown() -> None:
    first, second, other = started(day=1), started(day=2), started(model=LLAMA, day=3)
    known = Calibration([second, other, first])
    assert known.last(QWEN, SETTINGS, H100) == second
    assert known.last(QWEN, replace(SETTINGS, tp=2), H100) is None


sizes = st.floats(0.0, 20.0)


@given(reported=st.lists(sizes, min_size=1, max_size=5), asked=sizes)
def test_a_correction_lies_within_what_the_single_starts_say(
    reported: list[float], asked: float
) -> None:
    starts = [started(told(activation=size), day=day) for day, size in enumerate(reported, 1)]
    single = [
        ask(Calibration([start]), "activation", LLAMA, predicted_gib=asked) for start in starts
    ]
    together = ask(Calibration(starts), "activation", LLAMA, predicted_gib=asked)
    assert together is not None
    sizes_alone = [found[0] for found in single if found is not None]
    assert len(sizes_alone) == len(starts)
    assert min(sizes_alone) - 1 <= together[0] <= max(sizes_alone) + 1

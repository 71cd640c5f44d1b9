"""The whole chain, and when it says that a start fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from placement.footprint.estimate import Known, estimate, possible_versions
from placement.footprint.settings import Device, Footprint, Settings
from placement.models.facts import ModelFacts
from tests.placement.footprint import facts_made_up as made_up
from tests.placement.footprint.facts_made_up import H100, RTX_4090, V019

LLAMA = made_up.llama_8b()
AT_95 = replace(V019, gpu_memory_utilization=0.95)


class Learnt:
    """A calibration that knows some terms."""

    def __init__(self, **gib: float) -> None:
        self._gib = gib

    def term(
        self, name: str, facts: ModelFacts, settings: Settings, device: Device, predicted_bytes: int
    ) -> tuple[int, str] | None:
        return (int(self._gib[name] * GIB), "seen") if name in self._gib else None


def left_over(found: Footprint) -> int:
    return found.budget_bytes - sum(found.term(n) for n in ("weights", "activation", "non_torch"))


@pytest.mark.parametrize(
    ("facts", "settings", "logged"),
    [
        (LLAMA, AT_95, 58.11),
        (LLAMA, replace(AT_95, tp=2), 63.76),
        (LLAMA, replace(AT_95, tp=4), 67.44),
        (LLAMA, replace(AT_95, dtype="float32"), 42.8),
        (made_up.qwen3_14b(), replace(AT_95, vllm_version=(0, 15, 0)), 41.94),
        (made_up.qwen3_14b(), replace(AT_95, vllm_version=(0, 18, 0)), 45.23),
        (made_up.qwen3_30b_a3b(), AT_95, 15.41),
    ],
)
def test_logged(facts: ModelFacts, settings: Settings, logged: float) -> None:
    found = estimate(facts, settings, H100)
    assert found.kv_cache_bytes / GIB == pytest.approx(logged, rel=0.01)
    assert found.fits


def test_graphs_are_within_the_budget_since_0_21() -> None:
    old, new = (
        estimate(LLAMA, replace(AT_95, vllm_version=version), H100)
        for version in ((0, 20, 0), (0, 21, 0))
    )
    assert old.kv_cache_bytes == left_over(old)
    assert new.kv_cache_bytes == left_over(new) - new.term("cudagraph")
    assert new.term("cudagraph") > GIB // 2
    eager = estimate(LLAMA, replace(AT_95, enforce_eager=True), H100)
    assert eager.term("cudagraph") == 0


def test_the_margin_decides_what_fits_but_is_not_in_the_figure() -> None:
    fitted = estimate(LLAMA, AT_95, H100)
    other = estimate(LLAMA, AT_95, replace(H100, name="Frobnicator 9000"))
    assert (fitted.basis, other.basis) == ("fitted", "margin")
    assert other.term("margin") > fitted.term("margin") > 0
    assert other.kv_cache_bytes == left_over(other)


def test_fits_only_with_a_margin_to_spare() -> None:
    longest = Settings(vllm_version=(0, 27, 1), gpu_memory_utilization=0.9)
    found = estimate(LLAMA, longest, RTX_4090)
    sure = found.kv_cache_bytes - found.term("margin")
    assert found.kv_cache_tokens < 131072
    assert not found.fits
    assert "needs" in found.notes[0]
    tokens = sure // 131072 - 32
    assert estimate(LLAMA, replace(longest, max_model_len=tokens), RTX_4090).fits
    assert not estimate(LLAMA, replace(longest, max_model_len=tokens + 64), RTX_4090).fits


def test_what_comes_after_the_kv_cache_needs_room_as_well() -> None:
    """gpt-oss-20b at 0.95 of an H100 ran out of memory in the sampler's warm-up, at 0.9 not."""
    facts = made_up.mxfp4(made_up.windows(12, 12, 8, 64, 128, hidden=2880))
    tight, roomy = (
        estimate(facts, replace(V019, gpu_memory_utilization=share), H100) for share in (0.95, 0.9)
    )
    assert not tight.fits
    assert "warm-up" in tight.notes[0]
    assert roomy.fits


def test_a_small_card_at_the_default_share() -> None:
    """Qwen3-4B on an RTX 4090 with 0.27.1 and 0.92 of its memory ran out of it."""
    settings = Settings(vllm_version=(0, 27, 1), max_model_len=8192)
    assert not estimate(LLAMA, settings, RTX_4090).fits
    assert estimate(LLAMA, replace(settings, gpu_memory_utilization=0.88), RTX_4090).fits


@pytest.mark.parametrize(
    ("settings", "device", "reason"),
    [
        (replace(V019, tp=5), H100, "TP 5"),
        (AT_95, replace(H100, free_bytes=60 * GIB), "is more than the"),
        (replace(V019, dtype="bfloat16"), Device("Tesla T4", 80 * GIB), "bfloat16"),
    ],
)
def test_what_cannot_start_does_not_fit(settings: Settings, device: Device, reason: str) -> None:
    found = estimate(LLAMA, settings, device)
    assert not found.fits
    assert any(reason in note for note in found.notes)


def test_bytes_that_are_asked_for_take_the_place_of_the_share() -> None:
    settings = replace(V019, kv_cache_bytes=4 * GIB)
    found = estimate(LLAMA, settings, RTX_4090)
    assert (found.kv_cache_bytes, found.kv_cache_tokens) == (4 * GIB, 32768)
    assert (found.basis, found.fits) == ("exact", False)  # 23.55 GiB with a margin is not enough
    assert estimate(LLAMA, replace(settings, kv_cache_bytes=2 * GIB), RTX_4090).fits


def test_a_calibrated_start_needs_no_margin() -> None:
    learnt = Learnt(activation=2.0, non_torch=0.5, cudagraph=1.0)
    found = estimate(LLAMA, AT_95, RTX_4090, learnt)
    assert (found.basis, found.term("margin")) == ("calibrated", 0)
    assert found.term("activation") == 2 * GIB
    assert {term.source for term in found.terms} >= {"seen"}


def test_a_part_is_no_calibration() -> None:
    found = estimate(LLAMA, AT_95, RTX_4090, Learnt(activation=2.0, non_torch=0.5))
    assert found.basis == "margin"
    eager = replace(AT_95, enforce_eager=True)
    assert estimate(LLAMA, eager, RTX_4090, Learnt(activation=2.0, non_torch=0.5)).basis == (
        "calibrated"
    )


def test_on_a_cpu_the_kv_cache_is_what_was_asked_for() -> None:
    cpu = Device("AMD EPYC", 64 * GIB, free_bytes=48 * GIB, kind="cpu")
    settings = Settings(kv_cache_bytes=4 * GIB, max_model_len=8192, enforce_eager=True)
    found = estimate(LLAMA, settings, cpu)
    assert (found.kv_cache_tokens, found.basis, found.fits) == (32768, "exact", True)
    assert not estimate(LLAMA, replace(settings, kv_cache_bytes=40 * GIB), cpu).fits


def test_each_pipeline_rank_is_told() -> None:
    found = estimate(LLAMA, replace(AT_95, pp=2), H100)
    first, last = found.ranks
    assert first.kv_cache_bytes > last.kv_cache_bytes == found.kv_cache_bytes
    assert found.kv_cache_tokens == pytest.approx(1075312, rel=0.005)


def test_known_figures_replace_our_own() -> None:
    known = Known(rank_weights=(10 * GIB,), kv_cache_bytes=int(58.11 * GIB))
    found = estimate(LLAMA, AT_95, H100, known=known)
    assert found.term("weights") == 10 * GIB
    assert found.kv_cache_tokens == pytest.approx(476016, rel=1e-4)
    assert found.basis == "exact"


def test_an_unknown_version_fits_only_if_all_possible_ones_do() -> None:
    unknown = replace(V019, vllm_version=None, max_model_len=25000, gpu_memory_utilization=0.9)
    versions = possible_versions(LLAMA, RTX_4090)
    each = [estimate(LLAMA, replace(unknown, vllm_version=v), RTX_4090) for v in versions]
    found = estimate(LLAMA, unknown, RTX_4090)
    assert len({one.kv_cache_bytes for one in each}) > 2
    assert found.kv_cache_bytes == each[0].kv_cache_bytes
    assert found.fits == all(one.fits for one in each)
    assert "version is not known" in found.notes[0]
    assert found.settings.vllm_version is None


@given(
    gib=st.floats(8, 300),
    more=st.floats(0, 100),
    version=st.sampled_from([(0, 6, 4), (0, 10, 0), (0, 19, 0), (0, 32, 0)]),
    eager=st.booleans(),
)
def test_more_memory_never_fits_less(
    gib: float, more: float, version: tuple[int, int, int], eager: bool
) -> None:
    settings = Settings(
        vllm_version=version,
        max_model_len=8192,
        enforce_eager=eager,
        max_num_seqs=256,
        max_num_batched_tokens=2048,
    )
    small, large = (
        estimate(LLAMA, settings, Device("made up", int(size * GIB))) for size in (gib, gib + more)
    )
    assert small.kv_cache_bytes <= large.kv_cache_bytes
    assert small.kv_cache_tokens <= large.kv_cache_tokens
    assert small.fits <= large.fits

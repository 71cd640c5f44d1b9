"""`--explain`: each term and its source, sums that add up, and why nothing else was chosen."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from common.units import GIB
from placement.calibration.measurement import Row
from placement.plan.demand import Layout
from placement.plan.speed import BASIS
from placement.report.alternatives import alternatives, not_first
from placement.report.explain import lines
from tests.placement import plans

ROUNDING = 0.005


def ledgers(text: list[str]) -> list[list[float]]:
    """The figures under each `GiB`, one list a table."""
    found: list[list[float]] = []
    inside = False
    for line in text:
        if line.strip() == "GiB":
            found.append([])
            inside = True
        elif inside and (match := re.search(r"  +(-?[\d,]+\.\d\d)(  |$)", line)):
            found[-1].append(float(match[1].replace(",", "")))
        else:
            inside = False
    return found


@pytest.mark.parametrize("name", ["one_gpu", "tensor_parallel", "shared", "on_cpu"])
def test_budgets_and_terms_add_up(name: str) -> None:
    plan = getattr(plans, name)()
    tables = ledgers(lines(plan))
    assert len(tables) == 2 * len(plan.placements)
    for seat, (total, *less), terms in zip(plan.placements, tables[::2], tables[1::2], strict=True):
        rounding = ROUNDING * (len(less) + len(terms))
        may_take = less.pop()
        assert may_take == pytest.approx(seat.bytes_per_gpu / GIB, abs=ROUNDING)
        assert total - sum(less) == pytest.approx(may_take, abs=rounding)
        parts = 2 + len([term for term in seat.footprint.terms if term.n_bytes])
        if seat.berths[0].gpu:
            taken = terms[parts]
            assert sum(terms[:parts]) == pytest.approx(taken, abs=rounding)
            assert taken + sum(terms[parts + 1 :]) == pytest.approx(may_take, abs=rounding)


def test_every_term_has_its_source() -> None:
    text = lines(plans.one_gpu())
    for term in plans.one_gpu().placements[0].footprint.terms:
        assert any(line.endswith(f"  {term.source}") for line in text)
    assert "  basis: margin, not calibrated here, so a margin is kept" in text
    assert "  note: the tokenizer's files were not looked at" in text


def test_what_the_engine_is_told() -> None:
    text = "\n".join(lines(plans.shared()))
    cache = plans.shared().placements[0].settings.kv_cache_bytes
    assert f"told to the engine: kv_cache_memory_bytes {cache}" in text
    assert "told to the engine: gpu_memory_utilization 0.92" in text


def test_replicas_that_are_alike_are_told_once() -> None:
    text = lines(plans.four_replicas())
    at = text.index("qwen3-8b-3 on GPU 3, one GPU")
    assert text[at + 1] == "  the same as qwen3-8b-0"
    assert sum(line.startswith("  Weights") for line in text) == 1


def test_alternatives_are_ranked_with_reasons() -> None:
    text = "\n".join(lines(plans.four_replicas()))
    assert "1.  4 replicas on one GPU, NVIDIA GeForce RTX 5090 (chosen)" in text
    assert "65% of the first's tokens/s" in text
    assert "every layer waits for two exchanges over PCIe" in text
    assert BASIS in text


def test_what_does_not_fit_says_by_how_much() -> None:
    text = "\n".join(lines(plans.tensor_parallel()))
    assert "does not fit: 52.00 GiB short without any KV cache" in text


def test_a_cache_too_small_for_one_request_is_another_reason() -> None:
    place = plans.berth(0)
    option = plans.option(place, 0.5, None, fits=False)
    option = replace(option, footprint=replace(option.footprint, max_model_len=40960))
    plan = plans.plan([place], options={"m": (option,)})
    (found,) = alternatives(plan, "m")
    assert found.why == (
        "does not fit: the KV cache of 0.50 GiB holds 3,640 tokens, less than one request of 40,960"
    )


def test_an_unknown_card_has_no_speed() -> None:
    place = plans.berth(0)
    plan = plans.plan([place], options={"m": (plans.option(place, 2.1, None),)})
    (found,) = alternatives(plan, "m")
    assert found.why == "speed not known: the catalogue has no spec sheet of this GPU"


def test_fewer_gpus_is_a_reason() -> None:
    place = plans.berth(0)
    first = plans.option(place, 2.1, 1000.0, layout=Layout(2, 1), nvlink=True)
    second = plans.option(place, 2.1, 600.0)
    found = alternatives(plans.plan([place], options={"m": (first, second)}), "m")
    assert found[1].why.startswith("60% of the first's tokens/s")
    assert found[1].why.endswith("uses 1 GPU fewer")


def test_why_the_first_was_not_chosen() -> None:
    plan = plans.four_replicas()
    ranked = plan.options["qwen3-8b"]
    turned = replace(plan, options={"qwen3-8b": (ranked[1], ranked[0])})
    assert "the config names" in not_first(turned, "qwen3-8b")
    crowded = replace(turned, options={**turned.options, "other": ranked})
    assert "shared with 1 more" in not_first(crowded, "qwen3-8b")
    assert not_first(plan, "qwen3-8b") == ""


def test_a_model_without_any_layout_is_told() -> None:
    plan = plans.plan([plans.berth(0)], options={"odd": ()})
    assert "odd has no layout that is possible on this box" in lines(plan)


def test_the_engines_own_report_stands_beside_the_prediction() -> None:
    rows = [Row("weights", 15 * GIB, 16 * GIB), Row("kv_cache_tokens", 1000, 1000)]
    text = lines(plans.one_gpu(), {"qwen3-8b": rows})
    at = text.index("  the engine's own report at its last start:")
    assert text[at + 2].split() == ["Weights", "15.00", "GiB", "16.00", "GiB", "-6.2%"]
    assert text[at + 3].split() == ["KV", "tokens", "1,000", "1,000", "+0.0%"]

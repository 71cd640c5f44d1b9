"""What people see of a plan in a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.units import GIB
from placement.inventory.inventory import Gpu
from placement.plan.remedies import Remedy
from placement.plan.speed import BASIS
from placement.report.bars import bars
from placement.report.columns import columns
from placement.report.table import lines, strip, verdict
from placement.report.words import listed, rate, seconds
from tests.placement import plans


def row_of(text: list[str], start: str) -> list[str]:
    return next(line for line in text if line.startswith(start)).split()


def test_a_replica_has_its_figures() -> None:
    found = row_of(lines(plans.one_gpu()), "qwen3-8b-0")
    assert found == ["qwen3-8b-0", "0", "one", "GPU", "15.27", "2.10", "15,291", "15,104", "1.0",
                     "1,480", "182", "ms"]  # fmt: skip


def test_columns_stand_under_their_heads() -> None:
    text = lines(plans.shared())
    head = next(line for line in text if line.startswith("REPLICA"))
    start = text.index(head)
    end = head.index("WEIGHTS") + len("WEIGHTS")
    for line, weights in zip(text[start + 1 : start + 4], ("7.50", "2.90", "15.27"), strict=True):
        assert line[:end].endswith(weights)


def test_speeds_are_labelled_as_predicted() -> None:
    text = "\n".join(lines(plans.one_gpu()))
    assert "TOKENS/S*" in text
    assert BASIS in text
    silent = "\n".join(lines(plans.on_cpu()))
    assert BASIS not in silent


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("one_gpu", "1 replica placed on GPU 0."),
        ("four_replicas", "4 replicas placed on GPUs 0-3."),
        ("tensor_parallel", "1 replica placed on GPUs 0-7."),
        ("refused", "1 replica of 2 found no place."),
        ("on_cpu", "1 replica placed."),
    ],
)
def test_the_first_line_says_how_it_went(name: str, told: str) -> None:
    assert lines(getattr(plans, name)())[0] == told


def test_nothing_asked_is_nothing_placed() -> None:
    assert verdict(plans.plan([plans.berth(0)])) == "Nothing is asked for, so nothing is placed."


def test_a_refusal_comes_with_what_would_help() -> None:
    text = lines(plans.refused())
    at = next(i for i, line in enumerate(text) if line.startswith("No place for 1 replica"))
    assert "needs 137.2 GiB" in text[at]
    assert text[at + 2].split("  ")[2] == "a 4-bit checkpoint of it (AWQ, GPTQ)"
    assert "2 x NVIDIA H100 80GB" in text[at + 3]


def test_a_refusal_without_remedy_says_so() -> None:
    plan = plans.refused()
    (refusal,) = plan.refusals
    text = lines(replace(plan, refusals=(replace(refusal, remedies=()),)))
    assert "  nothing that was tried would make it fit" in text


def test_one_remedy_stands_under_its_head() -> None:
    plan = plans.refused()
    (refusal,) = plan.refusals
    one = replace(refusal, remedies=(Remedy("max_model_len: 4096", "fits"),))
    text = lines(replace(plan, refusals=(one,)))
    at = text.index("  it would fit with:")
    assert text[at + 1] == "    max_model_len: 4096  fits"


def test_a_lost_gpu_is_told() -> None:
    plan = plans.one_gpu()
    lost = Gpu(1, name="NVIDIA GeForce RTX 4090", error="GPU is lost")
    inventory = replace(
        plan.inventory, gpus=(*plan.inventory.gpus, lost), errors=("driver mismatch",)
    )
    text = lines(replace(plan, inventory=inventory))
    assert text[1:3] == [
        "driver mismatch",
        "GPU 1 (NVIDIA GeForce RTX 4090) is not used: GPU is lost",
    ]


def test_what_the_config_fixes_too_large_is_told() -> None:
    plan = plans.one_gpu()
    (seat,) = plan.placements
    short = replace(seat.footprint, kv_cache_bytes=-3 * GIB, fits=False)
    text = lines(replace(plan, placements=(replace(seat, footprint=short),)))
    assert text[1].startswith("qwen3-8b-0 does not fit as the config fixes it")
    assert "-3.00 GiB" in text[1]


def test_letters_are_in_proportion_to_bytes() -> None:
    for bar in bars(plans.shared()):
        drawn = strip(bar, 100)
        assert len(drawn) == 100
        for letter, part in (("W", "weights"), ("K", "kv_cache"), (".", "free")):
            share = 100 * bar.part_bytes(part) / bar.total_bytes  # type: ignore[arg-type]
            assert abs(drawn.count(letter) - share) <= 2


def test_a_mig_slice_is_called_by_its_number() -> None:
    place = plans.berth(7)
    assert place.gpu is not None
    uuid = "MIG-41b3f7a0-83a5-5ab5-9b3b-0123456789ab"
    slice_ = replace(place, id=uuid, gpu=replace(place.gpu, kind="mig", uuid=uuid))
    size = plans.footprint(slice_, 2.1)
    text = lines(plans.plan([slice_], [plans.placement("m", 0, [slice_], size)]))
    assert row_of(text, "m-0")[1] == "7"


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert columns(("A", "B"), [("x", "1"), ("long", "1,000")]) == [
        "A         B",
        "x         1",
        "long  1,000",
    ]


def test_figures_as_people_read_them() -> None:
    assert listed(["0", "1", "2", "5", "MIG-a"]) == "0-2, 5, MIG-a"
    assert [rate(None), rate(7.25), rate(1234.5)] == ["not known", "7.2", "1,234"]
    assert [seconds(None), seconds(0.0421), seconds(12.34)] == ["not known", "42 ms", "12.3 s"]

"""`--capacity` for people and for scripts, from an answer that is built by hand."""

from __future__ import annotations

import json
from dataclasses import replace

from placement.plan.demand import Layout
from placement.plan.offers import Capacity, Offer, Unfit
from placement.plan.speed import BASIS, Workload
from placement.report.capacity_table import lines, to_json
from tests.placement import plans


def offer(gpu: str = "NVIDIA GeForce RTX 5090", price_usd: int | None = 3998) -> Offer:
    place = plans.berth(0, plans.RTX_5090)
    return Offer(
        gpu=gpu,
        layout=Layout(1, 1),
        replicas=2,
        users_per_replica=40,
        footprint=plans.footprint(place, 9.8),
        nvlink=False,
        speed=plans.speed(1000.0, 25),
        limit="KV cache",
        price_usd=price_usd,
    )


def answer(**changes: object) -> Capacity:
    whole = Capacity(
        model="qwen3-8b",
        users=50,
        workload=Workload(1024, 256),
        least_tokens_per_s=10.0,
        offers=(offer(), offer("NVIDIA L40S", None)),
        unfit=(Unfit("NVIDIA T4", "too slow: one user alone would get 4.0 tokens/s"),),
        box=(offer(),),
        box_unfit=(),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_the_question_is_repeated() -> None:
    assert lines(answer())[0] == (
        "qwen3-8b for 50 users at once: 1,024 tokens in, 256 out, 10 tokens/s or more for each"
    )


def test_a_card_has_its_figures() -> None:
    text = lines(answer())
    row = next(line for line in text if "$3,998" in line)
    assert row.split()[:5] == ["2", "NVIDIA", "GeForce", "RTX", "5090"]
    assert row.split()[-6:] == ["80", "40.0", "2,000", "40", "182", "ms"]
    assert "2 replicas, one GPU" in row
    assert " - " in next(line for line in text if "L40S" in line)


def test_this_box_is_told_first() -> None:
    text = lines(answer())
    assert text[2] == "This box takes 80 users: enough."
    assert lines(answer(users=81))[2] == "This box takes 80 users: not enough."
    silent = lines(answer(box=()))
    assert not any(line.startswith("This box takes") for line in silent)


def test_what_will_not_do_is_told_with_its_reason() -> None:
    text = lines(answer(offers=()))
    assert "No card of the catalogue will do." in text
    at = text.index("Not enough, however many there are:")
    assert text[at + 1] == "  NVIDIA T4  too slow: one user alone would get 4.0 tokens/s"


def test_a_box_that_does_not_fit_is_told() -> None:
    text = lines(answer(box=(), box_unfit=(Unfit("NVIDIA T4", "does not fit"),)))
    assert text[2:4] == ["This box takes 0 users: not enough.", "  NVIDIA T4  does not fit"]


def test_predictions_are_labelled() -> None:
    text = "\n".join(lines(answer()))
    assert "TOKENS/S*" in text
    assert BASIS in text


def test_prices_are_explained_where_there_are_some() -> None:
    assert any(line.startswith("PRICE") for line in lines(answer()))
    assert not any(line.startswith("PRICE") for line in lines(answer(offers=())))


def test_json_has_the_same_figures() -> None:
    told = json.loads(json.dumps(to_json(answer()), allow_nan=False))
    assert told["version"] == 1
    assert (told["users"], told["input_tokens"], told["output_tokens"]) == (50, 1024, 256)
    first, second = told["cards"]
    assert (first["cards"], first["users"], first["price_usd"]) == (2, 80, 3998)
    assert first["predicted_tokens_per_s"] == 2000.0
    assert first["predicted_tokens_per_s_each"] == 40.0
    assert second["price_usd"] is None
    assert told["box"]["users"] == 80
    assert told["unfit_cards"][0]["gpu"] == "NVIDIA T4"


def test_json_of_a_card_without_spec_sheet_has_nulls() -> None:
    told = to_json(answer(box=(replace(offer(), speed=None),)))
    assert told["box"]["gpus"][0]["predicted_tokens_per_s"] is None
    assert told["box"]["gpus"][0]["predicted_ttft_s"] is None

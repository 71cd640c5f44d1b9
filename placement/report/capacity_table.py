"""`roundhouse plan --capacity`: how many users, which card; for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from placement.plan.offers import Capacity, Offer, Unfit
from placement.plan.speed import BASIS
from placement.report.columns import columns, indented
from placement.report.words import counted, rate, seconds, spread, tokens

_WHAT = ("CARDS", "CARD", "LAYOUT", "LIMITED BY")
_FIGURES = ("USERS", "A CARD", "TOKENS/S*", "EACH*", "TTFT*")


def lines(answer: Capacity) -> list[str]:
    load = answer.workload
    question = (
        f"{answer.model} for {counted(answer.users, 'user')} at once: {tokens(load.input_tokens)} "
        f"tokens in, {tokens(load.output_tokens)} out, {answer.least_tokens_per_s:g} tokens/s or "
        "more for each"
    )
    return [
        question,
        "",
        *_box(answer),
        *_offers(answer.offers),
        *_unfit("Not enough, however many there are:", answer.unfit),
        "",
        *_footnotes(answer),
    ]


def to_json(answer: Capacity) -> dict[str, Any]:
    """Keys are stable; a change of meaning raises `version`. What is not known is null."""
    return {
        "version": 1,
        "model": answer.model,
        "users": answer.users,
        "input_tokens": answer.workload.input_tokens,
        "output_tokens": answer.workload.output_tokens,
        "least_tokens_per_s": answer.least_tokens_per_s,
        "predictions_rest_on": BASIS,
        "cards": [_offer(offer) for offer in answer.offers],
        "unfit_cards": [_plain(each) for each in answer.unfit],
        "box": {
            "users": answer.box_users,
            "gpus": [_offer(offer) for offer in answer.box],
            "unfit_gpus": [_plain(each) for each in answer.box_unfit],
        },
    }


def _box(answer: Capacity) -> Iterator[str]:
    """This box comes first: it is already paid for."""
    if not answer.box and not answer.box_unfit:
        return
    enough = "enough" if answer.box_users >= answer.users else "not enough"
    yield f"This box takes {counted(answer.box_users, 'user')}: {enough}."
    if answer.box:
        rows = [(*_what(offer), *_figures(offer)) for offer in answer.box]
        yield from indented(columns((*_WHAT, *_FIGURES), rows, left=len(_WHAT)))
    yield from _unfit("", answer.box_unfit)
    yield ""


def _offers(offers: Sequence[Offer]) -> Iterator[str]:
    if not offers:
        yield "No card of the catalogue will do."
        return
    yield "Cards that will do, the fewest first:"
    rows = [(*_what(offer), _price(offer), *_figures(offer)) for offer in offers]
    yield from indented(columns((*_WHAT, "PRICE", *_FIGURES), rows, left=len(_WHAT)))


def _what(offer: Offer) -> tuple[str, ...]:
    how = spread(offer.layout, nvlink=offer.nvlink)
    layout = f"{counted(offer.replicas, 'replica')}, {how}"
    return (str(offer.cards), offer.gpu, layout, offer.limit)


def _price(offer: Offer) -> str:
    return "-" if offer.price_usd is None else f"${offer.price_usd:,}"


def _figures(offer: Offer) -> tuple[str, ...]:
    speed = offer.speed
    return (
        tokens(offer.users),
        f"{offer.users_per_card:,.1f}",
        rate(offer.tokens_per_s),
        rate(speed.stream_tokens_per_s) if speed else "-",
        seconds(speed.ttft_s) if speed else "-",
    )


def _unfit(title: str, found: Sequence[Unfit]) -> list[str]:
    if not found:
        return []
    rows = [(each.gpu, each.reason) for each in found]
    return [*(["", title] if title else []), *indented(columns(("", ""), rows, left=2)[1:])]


def _footnotes(answer: Capacity) -> Iterator[str]:
    yield "USERS is the most that these cards take; a user is one request that is always running."
    load = f"{counted(answer.users, 'user')} shared evenly, this box with all it takes"
    yield f"* Predicted for {load}: {BASIS}."
    if any(offer.price_usd for offer in answer.offers):
        yield "PRICE is the list price of the cards alone at launch, where it is known."


def _offer(offer: Offer) -> dict[str, Any]:
    speed = offer.speed
    return {
        "gpu": offer.gpu,
        "cards": offer.cards,
        "replicas": offer.replicas,
        "tp": offer.layout.tp,
        "pp": offer.layout.pp,
        "nvlink": offer.nvlink,
        "users": offer.users,
        "users_per_replica": offer.users_per_replica,
        "users_per_card": offer.users_per_card,
        "limit": offer.limit,
        "price_usd": offer.price_usd,
        "kv_cache_bytes": offer.footprint.kv_cache_bytes,
        "kv_cache_tokens": offer.footprint.kv_cache_tokens,
        "predicted_tokens_per_s": offer.tokens_per_s,
        "predicted_tokens_per_s_each": speed.stream_tokens_per_s if speed else None,
        "predicted_ttft_s": speed.ttft_s if speed else None,
    }


def _plain(unfit: Unfit) -> dict[str, Any]:
    return {"gpu": unfit.gpu, "reason": unfit.reason}

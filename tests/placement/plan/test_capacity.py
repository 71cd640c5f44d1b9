"""How many users, which card: with the planner's own arithmetic, on cards of the catalogue."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UsageError
from placement.footprint.settings import Settings
from placement.inventory import catalogue
from placement.inventory.inventory import Cpu, Inventory
from placement.plan.capacity import READING_TOKENS_PER_S, capacity
from placement.plan.crowd import Crowd
from placement.plan.demand import Demand, Layout
from placement.plan.offers import Capacity
from placement.plan.speed import Workload
from tests.placement import plans

CARDS = tuple(catalogue.find(name) for name in ("RTX 4090", "RTX 5090"))
LOAD = Workload(1024, 256)


def demand(**changes: object) -> Demand:
    return replace(Demand("qwen3-8b", plans.facts()), **changes)  # type: ignore[arg-type]


def ask(users: int, workload: Workload = LOAD, **options: object) -> Capacity:
    return capacity(demand(), users, workload, specs=CARDS, **options)  # type: ignore[arg-type]


@given(users=st.integers(1, 3000), least=st.floats(1, 60))
@settings(max_examples=25)
def test_what_is_offered_holds_all_users_at_their_speed(users: int, least: float) -> None:
    for offer in ask(users, least_tokens_per_s=least).offers:
        assert offer.users >= users > offer.users_per_replica * (offer.replicas - 1)
        assert offer.cards == offer.replicas * offer.layout.n_gpus
        assert offer.speed is not None
        assert offer.speed.stream_tokens_per_s >= least
        assert offer.footprint.fits
        whole = LOAD.input_tokens + LOAD.output_tokens
        assert offer.users_per_replica * whole <= offer.footprint.kv_cache_tokens


@given(users=st.integers(1, 1000), more=st.integers(0, 1000))
@settings(max_examples=25)
def test_more_users_never_need_fewer_cards(users: int, more: int) -> None:
    few = {offer.gpu: offer.cards for offer in ask(users).offers}
    many = {offer.gpu: offer.cards for offer in ask(users + more).offers}
    assert few.keys() == many.keys() == {card.name for card in CARDS}
    assert all(few[gpu] <= many[gpu] for gpu in few)


def test_the_fewest_cards_come_first_then_the_cheapest() -> None:
    answer = capacity(demand(), 60, LOAD, specs=catalogue.specs())
    sure = [offer for offer in answer.offers if offer.speed]
    keys = [(o.cards, o.price_usd is None, o.price_usd or 0) for o in sure]
    assert len(sure) > 5
    assert keys == sorted(keys)


def test_the_price_is_of_all_cards() -> None:
    spec = catalogue.find("RTX 4090")
    offer = next(each for each in ask(500).offers if each.gpu == spec.name)
    assert spec.price_usd is not None
    assert offer.cards > 1
    assert offer.price_usd == offer.cards * spec.price_usd


def test_no_smaller_number_of_cards_would_do() -> None:
    """Tried one by one: every layout on every number of cards below the one that is offered."""
    spec = catalogue.find("RTX 4090")
    offer = next(each for each in ask(300).offers if each.gpu == spec.name)
    for count in range(1, offer.cards):
        answer = capacity(demand(), 300, LOAD, catalogue.boxed([(spec.name, count)]), specs=CARDS)
        assert answer.box_users < 300
    answer = capacity(demand(), 300, LOAD, catalogue.boxed([(spec.name, offer.cards)]), specs=CARDS)
    assert answer.box_users >= 300


def test_a_higher_reading_speed_takes_fewer_users() -> None:
    box = catalogue.boxed([("L4", 1)])
    users = [ask(1, inventory=box, least_tokens_per_s=least).box_users for least in (1, 5, 10, 15)]
    assert users == sorted(users, reverse=True)
    assert users[0] > users[-1]


def test_what_limits_is_told() -> None:
    card = catalogue.boxed([("RTX 5090", 1)])
    (slow,) = ask(1, inventory=card, least_tokens_per_s=40).box
    (cache,) = ask(1, inventory=card, least_tokens_per_s=1).box
    few = demand(settings=Settings(max_num_seqs=4))
    (batch,) = capacity(few, 1, LOAD, card, specs=CARDS, least_tokens_per_s=1).box
    assert [slow.limit, cache.limit, batch.limit] == ["reading speed", "KV cache", "max_num_seqs"]
    assert batch.users == 4
    assert slow.speed is not None
    assert slow.speed.stream_tokens_per_s >= 40
    crowd = Crowd(demand(settings=Settings(max_model_len=1280)), LOAD, 40)
    option = next(iter(_options(crowd)))
    one_more = crowd.speed(option, CARDS[1], slow.users_per_replica + 1)
    assert one_more is not None
    assert one_more.stream_tokens_per_s < 40


def _options(crowd: Crowd) -> list[object]:
    from placement.plan.berths import berths
    from placement.plan.options import options

    box = catalogue.boxed([("RTX 5090", 1)])
    return list(options(crowd.demand, berths(box, 0), box, LOAD))


def test_a_card_that_is_too_slow_for_one_is_told() -> None:
    answer = ask(10, least_tokens_per_s=100_000.0)
    assert answer.offers == ()
    assert {each.gpu for each in answer.unfit} == {card.name for card in CARDS}
    assert all(each.reason.startswith("too slow: one user alone") for each in answer.unfit)


def test_a_model_that_is_too_large_is_told() -> None:
    facts = plans.facts()
    huge = replace(facts, layers=facts.layers * 40)
    answer = capacity(Demand("huge", huge), 1, LOAD, specs=CARDS)
    assert answer.offers == ()
    assert all(each.reason.startswith("does not fit, even on") for each in answer.unfit)


def test_a_layout_that_is_fixed_is_kept() -> None:
    fixed = demand(layout=Layout(2, 1))
    answer = capacity(fixed, 10, LOAD, catalogue.boxed([("RTX 4090", 1)]), specs=CARDS)
    assert {offer.layout for offer in answer.offers} == {Layout(2, 1)}
    assert [each.reason for each in answer.box_unfit] == [
        "its layout needs more GPUs than there are"
    ]


def test_this_box_takes_what_its_replicas_take_together() -> None:
    four = ask(10, inventory=catalogue.boxed([("RTX 5090", 4)])).box_users
    one = ask(10, inventory=catalogue.boxed([("RTX 5090", 1)])).box_users
    assert four >= 4 * one > 0


def test_kinds_of_gpus_are_counted_each_for_itself() -> None:
    both = ask(10, inventory=catalogue.boxed([("RTX 5090", 1), ("RTX 4090", 1)]))
    each = [ask(10, inventory=catalogue.boxed([(name, 1)])).box_users for name in ("5090", "4090")]
    assert [offer.users for offer in both.box] == each
    assert both.box_users == sum(each)


def test_a_card_without_spec_sheet_is_answered_by_memory_alone() -> None:
    box = catalogue.boxed([("RTX 5090", 1)])
    unknown = replace(box, gpus=tuple(replace(gpu, name="Some GPU") for gpu in box.gpus))
    (offer,) = ask(10, inventory=unknown).box
    assert offer.speed is None
    assert offer.tokens_per_s is None
    assert offer.users > 10


def test_a_reserve_leaves_room_for_fewer() -> None:
    box = catalogue.boxed([("RTX 5090", 1)])
    whole = ask(10, inventory=box, least_tokens_per_s=1.0)
    less = ask(10, inventory=box, least_tokens_per_s=1.0, reserve_bytes=8 << 30)
    assert 0 < less.box_users < whole.box_users


def test_a_box_without_gpus_takes_nobody() -> None:
    answer = ask(10, inventory=Inventory(cpu=Cpu(None, (0,), ((0,),), 1 << 34, 1 << 34)))
    assert answer.box == answer.box_unfit == ()
    assert answer.box_users == 0


def test_requests_longer_than_the_context_are_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"40000 tokens in and 1000 out make 41000.* 40960"):
        ask(10, Workload(40_000, 1_000))
    short = demand(settings=Settings(max_model_len=512))
    with pytest.raises(UsageError, match="has a context of 512"):
        capacity(short, 10, LOAD, specs=CARDS)


def test_apples_run_no_such_engine() -> None:
    apples = [spec for spec in catalogue.specs() if spec.kind == "apple"]
    assert apples
    answer = capacity(demand(), 10, LOAD, specs=[*apples, *CARDS])
    assert {offer.gpu for offer in answer.offers} == {card.name for card in CARDS}


def test_reading_speed_is_ten_by_default() -> None:
    assert ask(10).least_tokens_per_s == READING_TOKENS_PER_S == 10.0

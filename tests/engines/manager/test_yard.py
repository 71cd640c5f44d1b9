"""Decisions, driven by hand: no loop, no clock."""

from __future__ import annotations

import pytest

from common.errors import EngineLoadError, ModelNotFoundError
from engines.manager.amounts import Bytes
from engines.manager.books import Job, Verb
from engines.manager.line import Bounds
from engines.manager.model import ManagedModel
from engines.manager.record import Event
from engines.manager.states import IllegalTransitionError, ModelState
from engines.manager.yard import Yard

LOAD, UNLOAD, SLEEP, WAKE = Verb.LOAD, Verb.UNLOAD, Verb.SLEEP, Verb.WAKE


def model(name: str, size: int = 1, **settings: object) -> ManagedModel:
    return ManagedModel(name, {"gpu:0": size}, **settings)  # type: ignore[arg-type]


def yard(*models: ManagedModel, room: int = 1, ram: int = 0, swaps: int = 4) -> Yard:
    budget: Bytes = {"gpu:0": room, "ram": ram}
    return Yard(models, budget, Bounds(swaps, 30.0), list[Event]().append)


def load(made: Yard, name: str, now_s: float = 0.0) -> None:
    """Asked for, loaded, answered, idle."""
    ticket = made.arrive(name, now_s)
    assert made.turn(now_s).jobs == [Job(LOAD, name)]
    made.done(Job(LOAD, name), now_s, 10.0)
    assert made.turn(now_s).granted == [ticket]
    made.release(ticket, now_s)
    assert made.turn(now_s).jobs == []


def test_a_load_begins_only_when_the_bytes_of_the_victim_are_gone() -> None:
    made = yard(model("a"), model("b"))
    load(made, "a")
    made.arrive("b", 1.0)
    assert made.turn(1.0).jobs == [Job(UNLOAD, "a")]
    assert made.turn(2.0).jobs == []
    made.done(Job(UNLOAD, "a"), 3.0, 2.0)
    assert made.turn(3.0).jobs == [Job(LOAD, "b")]


def test_a_promise_ends_with_the_last_who_waited_for_it() -> None:
    made = yard(model("a"), model("b"))
    load(made, "a")
    ticket = made.arrive("b", 1.0)
    made.turn(1.0)
    made.give_up(ticket, 2.0)
    made.turn(2.0)
    made.done(Job(UNLOAD, "a"), 3.0, 2.0)
    assert made.turn(3.0).jobs == []
    assert made.record("b").state is ModelState.COLD


def test_after_a_failed_unload_its_bytes_still_count_and_it_is_tried_again_later() -> None:
    made = yard(model("a"), model("b"))
    load(made, "a")
    made.arrive("b", 1.0)
    made.turn(1.0)
    made.failed(Job(UNLOAD, "a"), RuntimeError("stuck"), 2.0, is_gone=False)
    assert made.turn(2.0).jobs == []
    assert made.record("a").held == {"gpu:0": 1}
    assert made.next_at_s(2.0) == 7.0
    assert made.turn(7.0).jobs == [Job(UNLOAD, "a")]
    made.done(Job(UNLOAD, "a"), 8.0, 1.0)
    assert made.turn(8.0).jobs == [Job(LOAD, "b")]


def test_a_failed_unload_sends_the_promise_to_another_victim() -> None:
    made = yard(model("a"), model("b"), model("c"), room=2)
    load(made, "a", 0.0)
    load(made, "b", 5.0)
    made.arrive("c", 6.0)
    assert made.turn(6.0).jobs == [Job(UNLOAD, "a")]
    made.failed(Job(UNLOAD, "a"), RuntimeError("stuck"), 7.0, is_gone=False)
    assert made.turn(7.0).jobs == [Job(UNLOAD, "b")]


def test_where_the_ram_for_its_sleep_is_not_free_yet_it_is_unloaded() -> None:
    sleeper = {"asleep_bytes": {1: {"ram": 1}}}
    made = yard(model("a", **sleeper), model("b", **sleeper), room=1, ram=1)
    load(made, "a")
    made.arrive("b", 1.0)
    assert made.turn(1.0).jobs == [Job(SLEEP, "a", 1)]
    made.done(Job(SLEEP, "a", 1), 2.0, 1.0)
    assert made.turn(2.0).jobs == [Job(LOAD, "b")]
    made.done(Job(LOAD, "b"), 12.0, 10.0)
    [ticket] = made.turn(12.0).granted
    made.release(ticket, 13.0)
    made.arrive("a", 14.0)  # it still holds the ram into which b might go
    assert made.turn(14.0).jobs == [Job(UNLOAD, "b")]
    made.done(Job(UNLOAD, "b"), 15.0, 1.0)
    assert made.turn(15.0).jobs == [Job(WAKE, "a")]


def test_who_was_overtaken_enough_is_next_even_if_others_would_fit() -> None:
    made = yard(model("big", 3), model("small"), model("tiny"), model("a"), room=3, swaps=1)
    load(made, "a")
    busy = made.arrive("a", 1.0)
    assert made.turn(1.0).granted == [busy]
    big = made.arrive("big", 2.0)
    made.arrive("small", 3.0)
    assert made.turn(3.0).jobs == [Job(LOAD, "small")]
    assert big.overtaken == 1
    made.arrive("tiny", 4.0)
    assert made.turn(4.0).jobs == []
    assert made.admits("a")  # as long as small loads, closing it would help nobody
    made.done(Job(LOAD, "small"), 5.0, 2.0)
    assert [ticket.model for ticket in made.turn(5.0).granted] == ["small"]
    assert not made.admits("a")
    assert not made.admits("small")
    made.arrive("a", 6.0)
    assert made.turn(6.0).granted == []


def test_the_bound_holds_within_one_turn_too() -> None:
    made = yard(model("big", 3), model("small"), model("tiny"), model("a"), room=3, swaps=1)
    load(made, "a")
    made.arrive("a", 1.0)
    made.turn(1.0)
    waiting = [made.arrive(name, 2.0) for name in ("big", "small", "tiny")]
    assert made.turn(2.0).jobs == [Job(LOAD, "small")]
    assert [ticket.overtaken for ticket in waiting] == [1, 0, 0]


def test_the_gates_open_again_when_the_one_who_was_due_has_gone() -> None:
    made = yard(model("a"), model("b"))
    load(made, "a")
    made.arrive("a", 1.0)
    made.turn(1.0)
    due = made.arrive("b", 2.0)
    made.turn(2.0)
    made.turn(32.0)
    late = made.arrive("a", 33.0)
    assert made.turn(33.0).granted == []
    made.give_up(due, 34.0)
    assert made.turn(34.0).granted == [late]


def test_while_it_cools_down_a_request_is_refused_on_arrival() -> None:
    made = yard(model("a"))
    ticket = made.arrive("a", 0.0)
    made.turn(0.0)
    made.failed(Job(LOAD, "a"), RuntimeError("no"), 1.0, is_gone=True)
    assert [(t, e.retry_after_s) for t, e in made.turn(1.0).refused] == [(ticket, 5)]
    with pytest.raises(EngineLoadError):
        made.arrive("a", 5.9)
    made.arrive("a", 6.0)
    assert made.turn(6.0).jobs == [Job(LOAD, "a")]


def test_what_the_table_does_not_have_is_an_error() -> None:
    made = yard(model("a"))
    with pytest.raises(IllegalTransitionError):
        made.files("a", ModelState.SLEEPING, 0.0, "")
    with pytest.raises(ModelNotFoundError):
        made.unload("b", 0.0)


def test_unload_of_what_is_not_loaded_does_nothing() -> None:
    made = yard(model("a"))
    made.unload("a", 0.0)
    assert made.turn(0.0).jobs == []
    assert made.record("a").state is ModelState.COLD

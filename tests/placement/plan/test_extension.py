"""More models beside those that stay where they are, on boxes that are only described."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from placement.plan.demand import Demand
from placement.plan.extension import extended, only
from placement.plan.timetable import Timetable
from tests.placement.plan.test_timetable import CPU, of_size, on, stay, timed, turns


def extend(kept: Timetable, demands: Sequence[Demand], pinned: Collection[str] = ()) -> Timetable:
    return extended(kept, demands, partial(on, CPU), pinned=pinned)


def test_one_that_fits_stands_beside_those_that_do_not_move() -> None:
    kept = timed([of_size("a", 10)], CPU)
    table = extend(kept, [of_size("b", 10)])
    assert stay(table) == ["a", "b"]
    assert table.together.placements[0] == kept.together.placements[0]
    assert table.together.berths == kept.together.berths, "the whole room, not what was left"
    assert not table.guests


def test_what_the_others_were_planned_to_take_is_theirs() -> None:
    kept = timed([of_size("a", 16), of_size("b", 16)], CPU)
    table = extend(kept, [of_size("c", 16)])
    assert stay(table) == ["a", "b"]
    assert turns(table) == {"c": ("b",)}


def test_the_room_of_one_that_goes_is_free() -> None:
    kept = only(timed([of_size("a", 16), of_size("b", 16)], CPU), ["a"])
    assert stay(kept) == ["a"]
    table = extend(kept, [of_size("c", 16)])
    assert stay(table) == ["a", "c"]


def test_guests_stay_guests_and_forget_who_has_gone() -> None:
    kept = only(timed([of_size(name, 16) for name in "abc"], CPU), ["a", "c"])
    assert turns(kept) == {"c": ()}
    assert turns(extend(kept, [])) == {"c": ()}


def test_what_does_not_fit_beside_pinned_models_is_refused() -> None:
    kept = timed([of_size("a", 16), of_size("b", 16)], CPU)
    refused = extend(kept, [of_size("c", 16)], ["a", "b"])
    assert [refusal.model for refusal in refused.refusals] == ["c"]
    refused = extend(kept, [of_size("c", 16)], ["c"])
    assert [refusal.model for refusal in refused.refusals] == ["c"]
    turning = timed([of_size(name, 16) for name in "abc"], CPU)
    (refusal,) = extend(turning, [], ["a", "b"]).refusals
    assert refusal.model == "c"
    assert "keep their places" in refusal.reason

"""Who waits, and who was overtaken."""

from __future__ import annotations

from engines.manager.line import Bounds, Line


def test_requests_for_a_model_are_taken_together_and_the_oldest_group_is_first() -> None:
    line = Line()
    tickets = [line.join(model, float(n)) for n, model in enumerate("ABABA")]
    assert [group.model for group in line] == ["A", "B"]
    assert line.take("A") == tickets[::2]
    assert [group.model for group in line] == ["B"]
    assert len(line) == line.waiting("B") == 2


def test_a_group_is_as_old_as_who_is_left_of_it() -> None:
    line = Line()
    first, _, _ = (line.join(model, 0.0) for model in "ABA")
    line.leave(first)
    line.leave(first)
    assert [group.model for group in line] == ["B", "A"]


def test_only_who_came_before_is_overtaken() -> None:
    line = Line()
    old, newer, newest = line.join("A", 0.0), line.join("B", 1.0), line.join("A", 2.0)
    [group] = [group for group in line if group.model == "B"]
    line.overtake(group, frozenset())
    assert (old.overtaken, newer.overtaken, newest.overtaken) == (1, 0, 0)
    line.overtake(group, frozenset("A"))
    assert old.overtaken == 1


def test_a_group_is_due_when_it_was_overtaken_or_kept_waiting_enough() -> None:
    bounds = Bounds(max_swaps=2, max_wait_s=10.0)
    line = Line()
    ticket = line.join("A", 0.0)
    [group] = line
    assert group.due_at_s(bounds) is None
    group.turn_at_s = 5.0
    assert not group.is_due(bounds, 14.9)
    assert group.is_due(bounds, 15.0)
    ticket.overtaken = 2
    assert group.is_due(bounds, 0.0)


def test_an_empty_line_has_nobody_to_take() -> None:
    line = Line()
    assert line.take("A") == []
    assert not list(line)

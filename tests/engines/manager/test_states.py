"""The table of a model's life."""

from __future__ import annotations

import pytest

from engines.manager.states import TRANSITIONS, IllegalTransitionError, ModelState, check


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(ModelState)
    reached, new = {ModelState.ABSENT}, {ModelState.ABSENT}
    while new:
        new = {after for before in new for after in TRANSITIONS[before]} - reached
        reached |= new
    assert reached == set(ModelState)


def test_no_state_is_a_dead_end() -> None:
    for start in ModelState:
        seen = {start}
        for _ in ModelState:
            seen |= {after for before in seen for after in TRANSITIONS[before]}
        assert ModelState.READY in seen


def test_what_is_not_in_the_table_is_an_error_that_names_both_states() -> None:
    for before in ModelState:
        for after in ModelState:
            if after in TRANSITIONS[before]:
                check("m", before, after)
                continue
            with pytest.raises(
                IllegalTransitionError, match=rf"m cannot go from {before} to {after};"
            ):
                check("m", before, after)


def test_a_model_is_loaded_only_from_disk_from_sleep_or_after_a_failure() -> None:
    before_loading = {b for b, after in TRANSITIONS.items() if ModelState.LOADING in after}
    assert before_loading == {ModelState.COLD, ModelState.SLEEPING, ModelState.FAILED}

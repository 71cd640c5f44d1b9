from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ensembles.rule import Rule, Standing, Verdict, verdict

WAIT, ENOUGH, HOPELESS = Verdict.WAIT, Verdict.ENOUGH, Verdict.HOPELESS
counts = st.integers(0, 6)


@pytest.mark.parametrize(
    ("rule", "standing", "past_soft", "expected"),
    [
        (Rule(), Standing(0, 0, 3), False, WAIT),
        (Rule(), Standing(2, 0, 1), False, WAIT),  # all are waited for
        (Rule(), Standing(1, 0, 2), True, ENOUGH),
        (Rule(), Standing(0, 0, 3), True, WAIT),  # a quorum is missing, so on to the deadline
        (Rule(), Standing(1, 2, 0), False, ENOUGH),
        (Rule(), Standing(0, 3, 0), False, HOPELESS),
        (Rule(quorum=2), Standing(1, 1, 1), True, WAIT),
        (Rule(quorum=2), Standing(1, 2, 0), False, HOPELESS),
        (Rule(quorum=2), Standing(0, 2, 1), False, HOPELESS),  # before the last one answers
        (Rule(first=2), Standing(2, 0, 3), False, ENOUGH),
        (Rule(quorum=3, first=2), Standing(2, 0, 3), False, WAIT),
        (Rule(fail_fast=True), Standing(2, 1, 0), False, HOPELESS),
    ],
)
def test_when_a_panel_is_over(
    rule: Rule, standing: Standing, past_soft: bool, expected: Verdict
) -> None:
    assert verdict(rule, standing, past_soft=past_soft) is expected


@given(st.integers(1, 5), st.none() | st.integers(1, 5), counts, counts, counts, st.booleans())
def test_enough_means_a_quorum_and_nobody_left_never_waits(
    quorum: int, first: int | None, answered: int, failed: int, pending: int, past_soft: bool
) -> None:
    told = verdict(Rule(quorum, first), Standing(answered, failed, pending), past_soft=past_soft)
    if told is ENOUGH:
        assert answered >= quorum
    if told is HOPELESS:
        assert answered + pending < quorum
    if not pending:
        assert told is not WAIT

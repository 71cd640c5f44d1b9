from __future__ import annotations

import pytest

from common.ensembles_config import CompareConfig
from common.errors import EngineError
from tests.router.ensembles.flaky import Script, played

BOTH = CompareConfig(members=("a", "b"))


def test_all_answers_side_by_side_with_their_times() -> None:
    run = played(BOTH, {"a": Script(["one"], delay_s=2), "b": Script(["two"], delay_s=1)})
    assert run.outcome is not None
    assert [(v.member.model, v.choice.text) for v in run.outcome.voices] == [
        ("a", "one"),
        ("b", "two"),
    ]
    took = [run.trace.calls[voice.call].took_s for voice in run.outcome.voices]
    assert took == pytest.approx([2, 1])
    assert run.outcome.confidence is None


def test_who_fails_is_missing_and_stands_in_the_trace() -> None:
    run = played(BOTH, {"a": Script(error=EngineError("broken")), "b": Script(["two"])})
    assert run.text == "two"
    assert run.trace.calls[0].error == "broken"

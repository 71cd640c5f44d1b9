from __future__ import annotations

import json
import math
from typing import Any

import pytest

from router.classify import TASKS
from router.classify.classifier import classify
from router.classify.conversation import Conversation, Turn, of_text
from router.classify.rules import default_rules
from router.classify.second_stage import (
    CHAT_PATH,
    LABELS,
    SYSTEMONE_PATH,
    chat_body,
    read_answer,
    systemone_body,
)

VERDICT = classify(of_text("hm"), default_rules())


def chat_answer(shares: dict[str, float]) -> bytes:
    top = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
    content = [{"token": "A", "logprob": 0, "top_logprobs": top}]
    return json.dumps({"choices": [{"logprobs": {"content": content}}]}).encode()


def systemone_answer(probabilities: dict[str, float], mass: float = 0.9) -> bytes:
    return json.dumps(
        {
            "answers": {"task": {"choice": "math", "probabilities": probabilities}},
            "diagnostics": {"task": {"label_mass": mass, "argmax_is_label": True}},
        }
    ).encode()


def test_one_token_with_logprobs_is_asked_for() -> None:
    conversation = Conversation("shorter", before=(Turn("user", "a poem please"),))
    body = json.loads(chat_body("qwen", conversation))
    assert (body["model"], body["max_tokens"], body["logprobs"]) == ("qwen", 1, True)
    system, user = body["messages"]
    for label, task in LABELS.items():
        assert f"{label}: {task}" in system["content"]
    assert "a poem please" in user["content"]
    assert "shorter" in user["content"]


def test_a_long_text_is_clipped() -> None:
    body = json.loads(chat_body("qwen", of_text("x" * 9000)))
    assert len(body["messages"][1]["content"]) < 1000


def test_systemone_asks_one_choice_among_the_tasks() -> None:
    body = json.loads(systemone_body("qwen", of_text("2+2")))
    (question,) = body["questions"].values()
    assert question["type"] == "choice"
    assert tuple(question["criteria"]) == TASKS


def test_letters_are_read_as_shares_of_the_labels() -> None:
    verdict = read_answer(
        CHAT_PATH, chat_answer({"C": 0.5, " C": 0.1, "B": 0.2, "x": 0.2}), VERDICT
    )
    assert verdict is not None
    assert verdict.task == "math"
    assert verdict.confidence == pytest.approx(0.75)
    assert verdict.scores["analysis"] == pytest.approx(0.25)
    assert "rules said general" in verdict.reason
    assert verdict.language == VERDICT.language


def test_systemone_is_read() -> None:
    answer = systemone_answer({"math": 0.7, "code": 0.3})
    verdict = read_answer(SYSTEMONE_PATH, answer, VERDICT)
    assert verdict is not None
    assert (verdict.task, verdict.confidence) == ("math", 0.7)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (CHAT_PATH, chat_answer({"The": 0.9, "A": 0.05})),
        (CHAT_PATH, b"not json"),
        (CHAT_PATH, b"{}"),
        (CHAT_PATH, b"[]"),
        (CHAT_PATH, b'{"choices": [{"logprobs": null}]}'),
        (CHAT_PATH, b'{"error": {"message": "no"}}'),
        (SYSTEMONE_PATH, b'{"answers": {}}'),
        (SYSTEMONE_PATH, systemone_answer({"math": 1.0}, mass=0.05)),
        (SYSTEMONE_PATH, systemone_answer({"cooking": 1.0})),
    ],
)
def test_an_answer_that_says_nothing_is_no_verdict(path: str, answer: Any) -> None:
    assert read_answer(path, answer, VERDICT) is None

"""The optional second opinion: a local model names the task in one prefill.

Pure: the body to send and the reading of the answer. Whoever calls keeps the deadline, and stays
with the rules' verdict when the answer is late or says nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from common.quality_config import TASKS, Task
from router.classify.classifier import Verdict
from router.classify.conversation import Conversation

LABELS: Mapping[str, Task] = dict(zip("ABCDEFG", TASKS, strict=True))
CHAT_PATH = "/v1/chat/completions"
SYSTEMONE_PATH = "/v1/systemone"
MEANINGS: Mapping[Task, str] = {
    "code": "writing, mending or explaining programs, queries, formulas of a spreadsheet",
    "analysis": "weighing up, comparing, judging, classifying, logic and reasoning",
    "math": "calculating, solving, proving, word problems with numbers",
    "translation": "from one human language into another",
    "summary": "shortening a text, its main points, a headline for it",
    "creative": "stories, poems, letters, posts, names, slogans, playing a part",
    "general": "questions of fact, advice, lists, small talk, anything else",
}
_INSTRUCTION = "Which kind of task does the user's last message ask for?"
_QUESTION = "task"
_TEXT_CHARS = 600
_LEAST_MASS = 0.2  # of all labels together; below it the model has not answered the question


def chat_body(model: str, conversation: Conversation) -> bytes:
    """One token with the probabilities of the letters A to G.

    The instruction comes first and never changes, so that its prefix stays cached.
    """
    choices = "\n".join(f"{label}: {task}: {MEANINGS[task]}" for label, task in LABELS.items())
    return _json(
        {
            "model": model,
            "messages": [
                {"role": "system", "content": f"{_INSTRUCTION}\n{choices}\nAnswer by one letter."},
                {"role": "user", "content": f"{_state(conversation)}\n\nLetter:"},
            ],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 20,
            "stream": False,
            "chat_template_kwargs": {"enable_thinking": False},
        }
    )


def systemone_body(model: str, conversation: Conversation) -> bytes:
    criteria = {task: MEANINGS[task] for task in TASKS}
    question = {"type": "choice", "instructions": _INSTRUCTION, "criteria": criteria}
    return _json(
        {"model": model, "state": _state(conversation), "questions": {_QUESTION: question}}
    )


def read_answer(path: str, answer: bytes, rules_verdict: Verdict) -> Verdict | None:
    """The rules' verdict with the model's task and confidence; None when it says nothing."""
    try:
        body = json.loads(answer)
        shares = _chosen(body) if path == SYSTEMONE_PATH else _letters(body)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    mass = sum(shares.values())
    if not _LEAST_MASS <= mass <= 1 + 1e-3:
        return None
    task = max(shares, key=lambda name: shares[name])
    return replace(
        rules_verdict,
        task=task,
        confidence=round(shares[task] / mass, 3),
        scores={name: round(shares.get(name, 0.0) / mass, 3) for name in TASKS},
        reason=f"a local model's choice; the rules said {rules_verdict.task} "
        f"({rules_verdict.confidence:.2f})",
    )


def _state(conversation: Conversation) -> str:
    """The turn before, for the sake of follow-ups, and the last message."""
    before = [f"{turn.role}: {_clipped(turn.text)}" for turn in conversation.before[-2:]]
    return "\n".join([*before, f"user: {_clipped(conversation.text)}"])


def _clipped(text: str) -> str:
    if len(text) <= _TEXT_CHARS:
        return text
    return f"{text[: _TEXT_CHARS // 2]} ... {text[-_TEXT_CHARS // 2 :]}"


def _letters(body: Any) -> dict[Task, float]:
    """Shares of the labels among the first token's likeliest; ' a' and 'A' are one label."""
    shares: dict[Task, float] = {}
    for token, share in _first_token(body):
        task = LABELS.get(token.strip().upper())
        if task:
            shares[task] = shares.get(task, 0.0) + share
    return shares


def _first_token(body: Any) -> Iterator[tuple[str, float]]:
    for entry in body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
        yield entry["token"], math.exp(entry["logprob"])


def _chosen(body: Any) -> dict[Task, float]:
    """The engine's shares sum to 1 over the labels; `label_mass` says how much that was."""
    answer = body["answers"][_QUESTION]["probabilities"]
    mass = float(body["diagnostics"][_QUESTION]["label_mass"])
    return {task: float(answer[task]) * mass for task in TASKS if task in answer}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()

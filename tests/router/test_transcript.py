"""One answer of several engines: what is kept of it, and how the parts are joined."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.transcript import Transcript

CHAT = "/v1/chat/completions"
BODY = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":50}'
DONE = b"data: [DONE]\n\n"


def event(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    delta = {"content": content} if content is not None else {}
    choice = {"index": 0, "delta": delta | more.pop("delta", {}), "finish_reason": finish}
    chunk = {"id": "a", "created": 1, "model": "m", "choices": [choice]} | more
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


ROLE = event("", delta={"role": "assistant"})


def transcript(*sent: bytes) -> Transcript:
    kept = Transcript(CHAT, BODY)
    for each in sent:
        assert kept.add(each) == each
    return kept


def resumed(*sent: bytes) -> Transcript:
    kept = transcript(*sent)
    assert kept.rest() is not None
    return kept


def read(data: bytes) -> dict[str, Any]:
    assert data.endswith(b"\n\n")
    chunk: dict[str, Any] = json.loads(data.removeprefix(b"data: "))
    return chunk


def test_text_and_tokens_are_kept() -> None:
    kept = transcript(b": ping\n\n", ROLE, event("안"), event("녕"), event(""))
    assert (kept.said, kept.n_tokens, kept.finished, kept.done) == ("안녕", 2, False, False)
    kept.add(event("!", "stop"))
    assert (kept.finished, kept.done) == (True, False)
    kept.add(DONE)
    assert kept.done


def test_the_engines_own_count_is_better_than_that_of_chunks() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    assert transcript(ROLE, event("two words", usage=usage)).n_tokens == 5


@pytest.mark.parametrize(
    "sent",
    [
        event(delta={"tool_calls": [{"index": 0}]}),
        event(delta={"reasoning": "hm"}),
        event(delta={"reasoning_content": "hm"}),
        event(delta={"refusal": "no"}),
        event(delta={"content": 5}),
        b"data: no json\n\n",
        b"data: []\n\n",
        b"data: \xff\n\n",
    ],
)
def test_what_is_not_text_cannot_be_gone_on_with(sent: bytes) -> None:
    kept = transcript(ROLE, event("a"), sent)
    assert not kept.readable
    assert kept.rest() is None


def test_empty_fields_do_not_count() -> None:
    kept = transcript(event("a", delta={"tool_calls": [], "refusal": None, "reasoning": ""}))
    assert kept.readable


def test_the_second_engines_chunks_go_on_with_the_first_ones() -> None:
    kept = resumed(ROLE, event("a"))
    assert kept.add(event("", delta={"role": "assistant"}, id="b")) == b""
    joined = read(kept.add(event("b", id="b", created=7, model="x", extra=[1])))
    assert (joined["id"], joined["created"], joined["model"]) == ("a", 1, "m")
    assert joined["extra"] == [1]
    assert kept.said == "ab"


def test_a_role_that_is_not_yet_known_is_told() -> None:
    kept = resumed(event("a"))
    joined = read(kept.add(event("b", delta={"role": "assistant"})))
    assert joined["choices"][0]["delta"] == {"content": "b", "role": "assistant"}
    again = read(kept.add(event("c", delta={"role": "assistant"})))
    assert again["choices"][0]["delta"] == {"content": "c"}


def test_an_empty_last_chunk_is_passed_on() -> None:
    kept = resumed(ROLE, event("a"))
    assert read(kept.add(event("", "stop")))["choices"][0]["finish_reason"] == "stop"
    assert kept.finished


def test_another_shape_passes_but_ends_it() -> None:
    kept = resumed(ROLE, event("a"))
    for sent in (b"data: [1]\n\n", b'data: {"choices":[{"delta":null}]}\n\n'):
        assert kept.add(sent) == sent
        assert not kept.readable


def sums(kept: Transcript, prompt: int, completion: int) -> tuple[int, int, int]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 0}
    told = read(kept.add(event(usage=usage, choices=[])))["usage"]
    return told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]


def test_usage_adds_up() -> None:
    """The second engine counts the two tokens that it was given to its prompt."""
    assert sums(resumed(ROLE, event("a"), event("b")), 12, 7) == (10, 9, 19)
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    assert sums(resumed(ROLE, event("a", usage=usage)), 13, 7) == (11, 10, 21)
    assert sums(resumed(ROLE), 10, 7) == (10, 7, 17)


def test_usage_adds_up_over_two_seams() -> None:
    kept = resumed(ROLE, event("a"), event("b"))
    kept.add(event("c"))
    assert kept.rest() is not None
    assert kept.n_tokens == 3
    assert sums(kept, 13, 4) == (10, 7, 17)


@given(st.text("ab \n"), st.text(" \n", max_size=4), st.text("ab \n", min_size=1), st.data())
def test_white_space_at_the_seam_is_said_once(
    begin: str, space: str, end: str, data: st.DataObject
) -> None:
    """The second engine is not told of it, and says it again."""
    kept = resumed(ROLE, event(begin + space))
    again = (begin + space)[len((begin + space).rstrip()) :] + end
    cuts = sorted(data.draw(st.lists(st.integers(0, len(again)), max_size=3)))
    for start, stop in zip([0, *cuts], [*cuts, len(again)], strict=True):
        kept.add(event(again[start:stop]))
    assert kept.said == begin + space + end


def test_white_space_that_does_not_come_again_is_not_waited_for() -> None:
    kept = resumed(ROLE, event("a \n"))
    for part in (" ", "b", "\nc"):
        kept.add(event(part))
    assert kept.said == "a \nb\nc"

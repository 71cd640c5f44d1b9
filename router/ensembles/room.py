"""Texts cut to what a model's context holds, by the estimate of `ask.estimated_tokens`, which is
rather too high than too low. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.ensembles.ask import BYTES_PER_TOKEN, Member, estimated_tokens

_CUT = "\n[...]\n"
# Of a context, for an answer whose length nobody limits; and for any answer at the most.
_FOR_ANSWER, _FOR_ANSWER_AT_MOST = 4, 2


def left(member: Member, fixed: Sequence[Mapping[str, Any]], max_tokens: int | None) -> int | None:
    """Tokens that are left beside these messages and an answer; None where nobody knows."""
    context = member.context_tokens
    if context is None:
        return None
    wanted = context // _FOR_ANSWER if max_tokens is None else max_tokens
    answer = min(wanted, context // _FOR_ANSWER_AT_MOST)
    return max(0, context - answer - estimated_tokens(fixed))


def clipped(text: str, tokens: int | None) -> str:
    """Its head and its tail, where it is longer; None is no limit."""
    raw = text.encode()
    if tokens is None or len(raw) <= tokens * BYTES_PER_TOKEN:
        return text
    kept = tokens * BYTES_PER_TOKEN - len(_CUT)
    if kept < 2:
        return ""
    tail = kept // 3
    head = raw[: kept - tail].decode(errors="ignore")
    return head + _CUT + raw[len(raw) - tail :].decode(errors="ignore")


def shared(texts: Sequence[str], tokens: int | None) -> tuple[str, ...]:
    """All of them in so many tokens together; only the longest are cut."""
    most = None if tokens is None else _fair([_tokens(text) for text in texts], tokens)
    return tuple(clipped(text, most) for text in texts)


def _fair(sizes: Sequence[int], total: int) -> int:
    """The greatest length to which all can be cut, so that their sum is at most `total`."""
    left = total
    for i, size in enumerate(sorted(sizes)):
        many = len(sizes) - i
        if size * many > left:
            return left // many
        left -= size
    return max(sizes, default=0)


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)

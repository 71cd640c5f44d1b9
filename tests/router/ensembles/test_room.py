from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.ensembles import room
from router.ensembles.ask import Member, estimated_tokens

SMALL = Member("a", context_tokens=1000)


def test_room_beside_messages_and_an_answer() -> None:
    fixed = ({"role": "user", "content": "x" * 300},)
    assert room.left(Member("a"), fixed, 50) is None
    assert room.left(SMALL, fixed, 50) == 1000 - 50 - 108
    assert room.left(SMALL, fixed, None) == 1000 - 250 - 108
    assert room.left(SMALL, fixed, 5000) == 1000 - 500 - 108  # an answer may not take it all
    assert room.left(SMALL, ({"role": "user", "content": "x" * 9000},), 50) == 0


@given(st.text(), st.integers(0, 60))
def test_what_is_clipped_fits(text: str, tokens: int) -> None:
    cut = room.clipped(text, tokens)
    assert len(cut.encode()) <= tokens * 3
    if len(text.encode()) <= tokens * 3:
        assert cut == text


def test_head_and_tail_are_kept() -> None:
    cut = room.clipped("가" * 500 + "끝", 100)
    assert cut.startswith("가")
    assert cut.endswith("끝")
    assert "[...]" in cut
    assert room.clipped("long " * 99, None) == "long " * 99


@given(st.lists(st.text(max_size=200), max_size=6), st.integers(0, 300))
def test_what_is_shared_fits_together_and_short_texts_stay(texts: list[str], tokens: int) -> None:
    parts = room.shared(texts, tokens)
    sizes = [estimated_tokens([{"content": part}]) - 8 for part in parts]
    assert sum(sizes) <= tokens
    if texts:
        fair = tokens // len(texts)
        for text, part in zip(texts, parts, strict=True):
            assert part == text or len(text.encode()) > fair * 3
    assert room.shared(texts, None) == tuple(texts)

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ensembles.checks.formats import without_unit, wrong_language, wrong_length


@pytest.mark.parametrize(
    ("text", "unit", "has"),
    [
        ("It is 5 km away.", "km", True),
        ("5km", "km", True),
        ("1,234.5 km/h", "km/h", True),
        ("about 5 kms", "km", False),
        ("5 miles", "m", False),
        ("km 없이 다섯", "km", False),
        ("a few km", "km", False),
        ("거리는 5km입니다", "km", True),
        ("3만 원입니다", "원", True),
        ("12000원", "원", True),
        ("세 명", "명", False),
        ("$5.20", "$", True),
        ("USD 5", "USD", True),
        ("km 5", "km", False),
        ("20 %", "%", True),
        ("20", "%", False),
    ],
)
def test_a_number_with_its_unit(text: str, unit: str, has: bool) -> None:
    assert (without_unit(text, unit) is None) is has


@pytest.mark.parametrize(
    ("text", "language", "fits"),
    [
        ("안녕하세요, 저는 Roundhouse입니다.", "ko", True),
        ("vLLM은 PagedAttention으로 KV cache를 관리합니다", "ko", True),
        ("Hello there", "ko", False),
        ("Hello there", "en", True),
        ("Seoul (서울) is the capital of Korea, and has been for centuries by now.", "en", True),
        ("서울은 수도입니다", "en", False),
        ("42", "ko", True),
        ("다음과 같습니다.\n```python\nfor each in everything: print(each)\n```", "ko", True),
        ("```\n안녕\n```\nThat is how it is written.", "en", True),
    ],
)
def test_language(text: str, language: str, fits: bool) -> None:
    assert (wrong_language(text, language) is None) is fits


def test_length() -> None:
    assert wrong_length("abc", 3, 3) is None
    assert wrong_length("abc", 4, None) == "3 characters, fewer than 4"
    assert wrong_length("abc", None, 2) == "3 characters, more than 2"


@given(st.text(), st.text(min_size=1))
def test_any_text_and_unit_can_be_looked_at(text: str, unit: str) -> None:
    without_unit(text, unit)
    wrong_language(text, "ko")


@pytest.mark.parametrize("text", ["1" * 100_000, "1," * 50_000, "1 " * 50_000, "$" * 100_000])
def test_a_text_that_is_made_to_be_slow_is_not(text: str) -> None:
    began = time.process_time()
    without_unit(text, "km")
    without_unit(text, "$")
    assert time.process_time() - began < 5

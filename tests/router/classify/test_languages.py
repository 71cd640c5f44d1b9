from __future__ import annotations

import pytest

from router.classify.languages import Language, language_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the tallest mountain?", Language("en")),
        ("가장 높은 산은 무엇인가요?", Language("ko")),
        ("ㅋㅋㅋ 뭐해", Language("ko")),
        ("이 function을 refactor 해줘", Language("ko", mixed=True)),
        ("'안녕하세요 반갑습니다' in English?", Language("ko", mixed=True)),
        ("東京の天気を教えてください", Language("other")),
        ("Привет, как дела?", Language("other")),
        (
            "Quel est le plus grand pays du monde et pour qui est-il dans une liste?",
            Language("other"),
        ),
        ("1 + 1 = ?", Language("other")),
        ("", Language("other")),
    ],
)
def test_language(text: str, expected: Language) -> None:
    assert language_of(text) == expected

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ensembles import numbers, options
from router.ensembles.extraction import extract

OPTIONS = "Which one?\nA) red\nB) green\nC) blue"
HOWS = ["auto", "number", "choice", "boxed", "text", "json", "json:answer"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She makes 9 * 2 = 18.\n#### 18", "18"),
        ("#### 1,234", "1234"),
        ("first \\boxed{3}, so \\boxed{\\frac{1}{2}}", "1/2"),
        ("\\boxed{x^{2}}", "x 2"),
        ("The answer is $1,234.50.", "2469/2"),
        ("The final answer is:\n\n**18 apples**", "18"),
        ("The answer is 5 + 3 = 8.", "8"),
        ("The answer is 12.5%", "25/2"),
        ("The answer is 42. It was not 7.", "42"),
        ("the Answer: Paris.", "paris"),
        ("The answer is the Eiffel Tower", "eiffel tower"),
        ("The answer is 18 or 20", "18 or 20"),
        ("The answer is (B).", "B"),
        ("So 3 remain, and 4 + 3 is 7", "7"),
        ("-5", "-5"),
        ("1 1/2 cups", "3/2"),
        ("B", "B"),
        ("(c)", "C"),
        ("Paris", "paris"),
        ("정답은 3만 5천원입니다.", "35000"),
        ("답: 1억 2,000만 원", "120000000"),
        ("계산하면 총 12개입니다. 정답은 18개입니다", "18"),
        ("정답은 ③입니다", "3"),
        ("정답은 파리입니다.", "파리"),
        ("사과 3조각에서 2만큼 더해 5개", "5"),
        ("The answer is 3시 15분", "3시 15분"),
        ('{"x": 1, "a": [1, 2]}', '{"a":[1,2],"x":1}'),
        ('```json\n{"x":1}\n```', '{"x":1}'),
        ("<think>it may be 3 or 4</think>The answer is 4", "4"),
        ("it may be 3</think>\n4", "4"),
        ("<think>it may be 3", None),
        ("", None),
        (" \n", None),
        ("...", None),
    ],
)
def test_auto(text: str, expected: str | None) -> None:
    assert extract(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/2", "1/2"),
        ("0.5", "1/2"),
        ("3 / 0", None),
        ("2백만", "2000000"),
        ("1만2천3백45", "12345"),
        ("3천 5백만", "35000000"),
        ("3만 5,000원", "35000"),
        ("1조 2억", "1000200000000"),
        ("5만원짜리 3장", "3"),
        ("2만큼", "2"),
        ("\u22127", "-7"),
        ("$-7", "-7"),
        ("-$7", "-7"),
        ("5-3", "3"),
        ("₩12,000", "12000"),
        ("1.5e3", "1500"),
        ("1,23", "23"),
        ("no number", None),
        ("9" * 5000, None),
    ],
)
def test_numbers(text: str, expected: str | None) -> None:
    assert extract(text, "number") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is A because it is red.", "A"),
        ("I think A is wrong, so B.", "B"),
        ("A dog is B", "B"),
        ("Option C", "C"),
        ("정답은 3번입니다.", "3"),
        ("정답: (나)", "나"),
        ("정답은 다", "다"),
        ("②", "2"),
        ("② 또는 ④ 중에서 ④", "4"),
        ("red", None),
    ],
)
def test_choices(text: str, expected: str | None) -> None:
    assert extract(text, "choice") == expected


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        ('{"answer": {"n": 1.50}}', "json:answer.n", "3/2"),
        ('Here: {"answer": " Paris. "} ok', "json:answer", "paris"),
        ('{"answer": true}', "json:answer", "true"),
        ('{"answer": null}', "json:answer", None),
        ('{"answer": NaN}', "json:answer", None),
        ('{"answer": 1e999}', "json:answer", "Infinity"),
        ('{"other": 1}', "json:answer", None),
        ("no json { here", "json", None),
        ("{bad} [1]", "json", "[1]"),
        ("The capital is Paris.", "text", "capital is paris"),
        ("1,000", "text", "1000"),
        ("18", "boxed", None),
        ("\\boxed{18\\text{ km}}", "boxed", "18"),
        ("\\boxed{18", "boxed", None),
    ],
)
def test_other_ways(text: str, how: str, expected: str | None) -> None:
    assert extract(text, how) == expected


def test_options_of_the_question_come_first() -> None:
    assert extract("B, since 3 > 2", question=OPTIONS) == "B"
    assert extract("B, since 3 > 2") == "2"
    assert options.are_listed("다음 중 옳은 것은? ① 하나 ② 둘")
    assert not options.are_listed("A. How many?")


def test_what_was_cut_off_has_only_the_answer_that_it_marks() -> None:
    assert extract("first 3, then 4", is_cut=True) is None
    assert extract("first 3, then 4", "number", is_cut=True) is None
    assert extract("maybe B, or", "choice", is_cut=True) is None
    assert extract("The answer is 4. Now let me", is_cut=True) == "4"


@pytest.mark.parametrize(
    "mess", ["[", "{", "x ", " ", "1 ", "1,", "</think>", "answer is ", "\\frac{", "A "]
)
def test_a_very_long_text_still_has_its_answer(mess: str) -> None:
    assert extract(mess * 50_000 + "\n#### 18") == "18"
    assert extract(mess * 50_000 + '\n{"answer": 18}', "number") == "18"


@given(st.text(max_size=200), st.sampled_from(HOWS), st.booleans())
def test_any_text_gives_an_answer_or_none(text: str, how: str, is_cut: bool) -> None:
    said = extract(text, how, question=OPTIONS, is_cut=is_cut)
    assert said is None or said.strip()
    assert said == extract(text, how, question=OPTIONS, is_cut=is_cut)


@given(
    st.text("0123456789.,/-\u2212 만억천조백십원개%$()AB①②가나번\\boxed{}frac#=답:eE", max_size=60)
)
def test_any_mess_of_numbers_gives_an_answer_or_none(text: str) -> None:
    for how in HOWS:
        extract(text, how)


@given(st.integers(-(10**15), 10**15))
def test_a_number_is_the_same_however_it_is_written(n: int) -> None:
    expected = str(n)
    for text in (f"{n}", f"{n:,}", f"${n:,}", f"{n:,}원", f"{n}.00", f"\\boxed{{{n:,}}}"):
        assert extract(text) == extract(f"#### {text}") == expected
        assert extract(f"The answer is {text}.") == extract(f"정답은 {text}입니다.") == expected


@given(st.integers(1, 10**16 - 1))
def test_a_korean_number_is_the_number(n: int) -> None:
    assert extract(in_korean(n, " ") + "원", "number") == str(n)
    assert extract("정답은 " + in_korean(n, "") + "개입니다.") == str(n)


@given(st.fractions(max_denominator=1000))
def test_fractions(value: Fraction) -> None:
    expected = str(value)
    sign = "-" if value < 0 else ""
    top, bottom = abs(value.numerator), value.denominator
    assert extract(f"{sign}{top}/{bottom}", "number") == expected
    assert extract(f"\\boxed{{{sign}\\frac{{{top}}}{{{bottom}}}}}") == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9, places=4))
def test_decimals(value: object) -> None:
    assert numbers.last_number(f"it is {value} kg") == Fraction(str(value))


@given(st.sampled_from("ABCDE"))
def test_a_letter_is_the_same_however_it_is_written(letter: str) -> None:
    for text in (letter, f"({letter})", f"{letter}.", f"**{letter}**", f"({letter.lower()})"):
        for said in (text, f"The answer is {text}", f"정답은 {text}", f"Answer: {text}"):
            assert extract(said, "choice") == extract(said) == letter


def in_korean(n: int, gap: str) -> str:
    """As people do: 1억 2,345만 6,789."""
    parts = []
    for unit, value in (("조", 10**12), ("억", 10**8), ("만", 10**4), ("", 1)):
        digits, n = divmod(n, value)
        if digits:
            parts.append(f"{digits:,}{unit}")
    return gap.join(parts)

"""However a model is split over workers, greedy decoding gives the same tokens."""

from __future__ import annotations

import pytest

from tests.real.serving import RunningServer

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("prompt", ["Once upon a time", "def main():", "1 2 3 4 5", "Ünï¢ødé"])
def test_two_workers_say_what_one_says(house: RunningServer, prompt: str) -> None:
    one, two = (tokens(house, model, prompt) for model in ("tiny-tp1", "tiny-tp2"))
    assert one == two
    assert len(one) == 32
    assert len(set(one)) > 1


def tokens(house: RunningServer, model: str, prompt: str) -> list[int]:
    body = {
        "model": model,
        "prompt": prompt,
        "temperature": 0,
        "max_tokens": 32,
        "ignore_eos": True,
        "return_token_ids": True,
    }
    answer = house.post("/v1/completions", body)
    assert answer.status_code == 200, answer.text
    found: list[int] = answer.json()["choices"][0]["token_ids"]
    return found

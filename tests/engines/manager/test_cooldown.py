"""What a failed load is told as, and how long it keeps others from trying."""

from __future__ import annotations

import pytest

from common.errors import EngineLoadError, ModelFetchError, OutOfMemoryError
from engines.manager.cooldown import LONGEST_PAUSE_S, Cause, after_failure, cause_of


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OutOfMemoryError("GPU 0 has 2.0 GiB free"), Cause.OUT_OF_MEMORY),
        (MemoryError(), Cause.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), Cause.OUT_OF_MEMORY),
        (ValueError("No available memory for the cache blocks."), Cause.OUT_OF_MEMORY),
        (FileNotFoundError("model.gguf"), Cause.FILE_MISSING),
        (ModelFetchError("could not be had"), Cause.FILE_MISSING),
        (RuntimeError("gguf_init: failed to open 'x.gguf'"), Cause.FILE_MISSING),
        (RuntimeError("unknown model architecture: 'foo'"), Cause.WRONG_ARCHITECTURE),
        (
            ValueError("Model architectures ['Foo'] are not supported for now."),
            Cause.WRONG_ARCHITECTURE,
        ),
        (
            ValueError("has model type `foo` but Transformers does not recognize this"),
            Cause.WRONG_ARCHITECTURE,
        ),
        (ValueError("the bloom filter is full"), Cause.OTHER),
    ],
)
def test_the_cause_is_told_apart(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [after_failure(OSError("no"), n, 100.0).until_s - 100 for n in range(100)]
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_clients_get_503_with_the_reason_and_when_to_come_back() -> None:
    cooldown = after_failure(RuntimeError("CUDA out of memory"), 0, 100.0)
    error = cooldown.error("m", 102.5)
    assert isinstance(error, OutOfMemoryError)
    assert (error.status, error.retry_after_s) == (503, 3)
    assert error.message == "m did not load (out of memory: CUDA out of memory)"


def test_an_unknown_cause_is_told_in_the_engines_own_words() -> None:
    error = after_failure(RuntimeError("boom"), 0, 0.0).error("m", 0.0)
    assert type(error) is EngineLoadError
    assert error.message == "m did not load (boom)"


def test_there_is_always_some_time_to_wait() -> None:
    assert after_failure(KeyError(), 0, 0.0).error("m", 4.999).retry_after_s == 1

"""After a failed load: what went wrong, and how long nobody tries again. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from common.errors import EngineLoadError, ModelFetchError, OutOfMemoryError

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 600.0


class Cause(StrEnum):
    OUT_OF_MEMORY = "out of memory"
    FILE_MISSING = "file missing"
    WRONG_ARCHITECTURE = "wrong architecture"
    OTHER = "other"


# What engines say: vLLM and PyTorch, llama.cpp, the hub's client, the operating system.
_SAID: Final = (
    (Cause.OUT_OF_MEMORY, r"out of memory|\boom\b|failed to allocate|no available memory"),
    (Cause.WRONG_ARCHITECTURE, r"(unknown|unsupported|unrecognized) (model )?architecture"),
    (Cause.WRONG_ARCHITECTURE, r"architectures? .*not supported"),
    (Cause.WRONG_ARCHITECTURE, r"model type .*(not supported|not recognize)"),
    (Cause.FILE_MISSING, r"no such file|not found|does not exist|failed to open"),
)


@dataclass(frozen=True)
class Cooldown:
    """Why the model is not tried again before `until_s`; `failures` in a row brought it here."""

    failures: int
    until_s: float
    cause: Cause
    message: str

    def error(self, model: str, now_s: float) -> EngineLoadError:
        """For a client: 503 with Retry-After, of the class that fallbacks know."""
        kind = OutOfMemoryError if self.cause is Cause.OUT_OF_MEMORY else EngineLoadError
        said = self.message if self.cause is Cause.OTHER else f"{self.cause}: {self.message}"
        return kind(
            f"{model} did not load ({said})",
            retry_after_s=max(1, math.ceil(self.until_s - now_s)),
        )


def after_failure(error: BaseException, failures_before: int, now_s: float) -> Cooldown:
    """Pauses double from 5 s to 10 minutes."""
    doublings = min(failures_before, 20)
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**doublings)
    message = str(error) or type(error).__name__
    return Cooldown(failures_before + 1, now_s + pause_s, cause_of(error), message)


def cause_of(error: BaseException) -> Cause:
    if isinstance(error, OutOfMemoryError | MemoryError):
        return Cause.OUT_OF_MEMORY
    if isinstance(error, FileNotFoundError | ModelFetchError):
        return Cause.FILE_MISSING
    found = (cause for cause, said in _SAID if re.search(said, str(error), re.IGNORECASE))
    return next(found, Cause.OTHER)

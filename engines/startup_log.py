"""What an engine's log says about its start: the phase it is in, and the cause when it fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# In the order in which vLLM goes through them; a later line wins.
_PHASES = (
    (re.compile(r"Initializing a V1 LLM engine|Waiting for .* engine"), "starting engine"),
    (re.compile(r"Starting to load model|Loading model from"), "loading weights"),
    (re.compile(r"Loading .*checkpoint shards:\s+(\d+)%"), "loading weights {}%"),
    (re.compile(r"Loading weights took"), "weights loaded"),
    (re.compile(r"Dynamo bytecode|Compiling a graph|torch\.compile takes"), "compiling"),
    (re.compile(r"Warming up model"), "warming up"),
    (re.compile(r"KV cache size"), "KV cache ready"),
    (re.compile(r"Capturing .*graphs?.*?(\d+)%"), "capturing graphs {}%"),
    (re.compile(r"Supported tasks|Starting vLLM server"), "starting server"),
)
_CAUSE = re.compile(r"\b(?:[A-Za-z_]+\.)*(?:[A-Z][A-Za-z]*)?(?:Error|Exception): .+")
_CONSEQUENCE = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "EngineDead",
)
_OUT_OF_MEMORY = re.compile(
    r"out of memory|No available memory for the cache blocks|less than desired (GPU|CPU) memory"
    r"|larger than the available KV cache memory|MemoryError",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Cause:
    """Why a start failed, in the engine's own words."""

    message: str
    out_of_memory: bool


class StartupLog:
    """Reads a growing log file, from where it stood when this start began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._begin = self._offset
        self._rest = b""
        self._phase = "starting"

    def phase(self) -> str:
        """The latest phase that the log speaks of."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        self._offset += len(fresh)
        lines = re.split(rb"[\r\n]+", self._rest + fresh)
        self._rest = lines[-1]  # it may be half a line
        for line in lines:
            self._phase = _phase_of(line.decode(errors="replace")) or self._phase
        return self._phase

    def cause(self, error: BaseException) -> Cause:
        """The root cause of a failed start: the engine process's own error if it logged one."""
        own = f"{type(error).__name__}: {error}".strip()
        message = _last_error(self.text()) or own
        return Cause(message, bool(_OUT_OF_MEMORY.search(message) or _OUT_OF_MEMORY.search(own)))

    def text(self) -> str:
        """All that was written since this start began."""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")


def _phase_of(line: str) -> str | None:
    for pattern, phase in _PHASES:
        match = pattern.search(line)
        if match:
            return phase.format(*match.groups())
    return None


def _last_error(text: str) -> str | None:
    """The last error that was logged as one; what a dying process merely prints counts less."""
    logged = printed = None
    for line in text.splitlines():
        match = _CAUSE.search(line)
        if match is None or any(words in match[0] for words in _CONSEQUENCE):
            continue
        printed = match[0].strip()
        if " ERROR " in line[: match.start()]:
            logged = printed
    return logged or printed

"""How a model on the hub is named: `owner/name`, with `@revision`, with `:file.gguf` or `:Q4_K_M`.

`owner/name/file.gguf`, as a config's `source` names such a file, is understood too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFERENCE = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)"
    r"(?:@(?P<revision>[\w.-]+(?:/[\w.-]+)*))?"
    r"(?::(?P<wanted>[\w.+-]+(?:/[\w.+-]+)*))?"
)
_FILE = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)/(?P<wanted>\S+\.gguf)")
MAIN = "main"


@dataclass(frozen=True)
class Reference:
    """`wanted` is a GGUF file of the repository, or the name of a quantization."""

    repo: str
    revision: str | None = None
    wanted: str | None = None

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{at}{f':{self.wanted}' if self.wanted else ''}"


def parse(text: str) -> Reference | None:
    """None for what is no such name."""
    if match := _REFERENCE.fullmatch(text):
        return Reference(match["repo"], match["revision"], match["wanted"])
    match = _FILE.fullmatch(text)
    return Reference(match["repo"], wanted=match["wanted"]) if match else None

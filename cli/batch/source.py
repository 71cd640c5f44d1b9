"""The input file of a batch: checked as a whole before anything is sent, then read line by line.

Only the ids are held in memory, never the bodies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.batch.request import Form, Plain, Request, form_of, parse
from common.errors import UsageError

_TOLD = 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """`ids` has the line of each."""

    path: Path
    form: Form
    plain: Plain
    ids: dict[str, int]
    sha256: str

    def requests(self, done: Collection[str]) -> Iterator[Request]:
        """Those that are not done. Raises UsageError when the file is no longer what it was."""
        for line, raw in filled(self.path):
            try:
                request = parse(_text(raw), line, self.form, self.plain)
            except ValueError:
                raise self._changed(line) from None
            if self.ids.get(request.custom_id) != line:
                raise self._changed(line)
            if request.custom_id not in done:
                yield request

    def _changed(self, line: int) -> UsageError:
        return UsageError(f"{self.path}:{line}: was changed while the batch ran; put it back")


def checked(path: Path, plain: Plain) -> Source:
    """Raises UsageError with every line that is wrong, up to twenty."""
    lines = filled(path)
    _, first = next(lines, (0, b""))
    if not first:
        raise UsageError(f"{path}: holds no requests")
    form = form_of(path.suffix.lower(), first.decode(errors="replace"))
    ids: dict[str, int] = {}
    wrong: list[str] = []
    digest = hashlib.sha256()
    for line, raw in filled(path):
        digest.update(b"%d:%b\n" % (line, raw))  # a plain list is numbered by its lines
        try:
            _add(ids, parse(_text(raw), line, form, plain))
        except ValueError as error:
            wrong.append(f"{path}:{line}: {error}")
    if wrong:
        raise UsageError(_told(wrong))
    return Source(path, form, plain, ids, digest.hexdigest())


def filled(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers. Raises UsageError."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: must be a file, since it is read twice")
    try:
        with path.open("rb") as file:
            for line, raw in enumerate(file, start=1):
                text = (raw.removeprefix(_BOM) if line == 1 else raw).strip()
                if text:
                    yield line, text
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1} of the line") from None


def _add(ids: dict[str, int], request: Request) -> None:
    first = ids.setdefault(request.custom_id, request.line)
    if first != request.line:
        raise ValueError(f"custom_id {request.custom_id!r} stands on line {first} already")


def _told(wrong: list[str]) -> str:
    rest = len(wrong) - _TOLD
    more = [f"and {rest} more lines"] if rest > 0 else []
    return "\n".join(["nothing was sent:", *wrong[:_TOLD], *more])

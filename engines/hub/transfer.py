"""One large file, by ranges, so that a pull that was cut off goes on where it was.

The hub's own client throws the part of a file away when its process ends; this keeps it beside the
place in the cache where the whole file goes, under a name that the hub's tools take for a part too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from common.errors import ModelFetchError
from engines.hub.bar import Bar
from engines.hub.selection import RemoteFile

# What the hub's plain HTTP gives, and what is worth a part of its own.
MOST_BYTES = 50_000_000_000
LEAST_BYTES = 1 << 20
_IN_VAIN = 5  # requests in a row that bring nothing
_PAUSE_S = 1.0
_PARTIAL = 206  # HTTP's status of an answer with the range that was asked for


def resumes(file: RemoteFile) -> bool:
    return file.sha256 is not None and LEAST_BYTES <= file.n_bytes <= MOST_BYTES


def part_of(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.roundhouse.incomplete")


def part_bytes(blob: Path) -> int:
    try:
        return part_of(blob).stat().st_size
    except OSError:
        return 0


def fetch(url: str, file: RemoteFile, blob: Path, bar: type[Bar]) -> None:
    """Makes `blob`. Raises ModelFetchError when what came is not what the hub promised."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(blob)
    with part.open("ab") as lock, _locked(lock, file):
        if blob.exists():
            part.unlink(missing_ok=True)
            return
        _complete(url, file, part, bar)
        if (found := _sha256(part)) != file.sha256:
            part.unlink()
            raise ModelFetchError(
                f"{file.path} came damaged (sha256 {found}, the hub says {file.sha256}); "
                "it was thrown away: try again"
            )
        part.chmod(0o666 & ~_umask())
        part.replace(blob)


def _complete(url: str, file: RemoteFile, part: Path, bar: type[Bar]) -> None:
    """Asks again for the rest as often as a connection breaks, unless nothing comes any more."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    vain = 0
    while (have := part.stat().st_size) != file.n_bytes:
        if have > file.n_bytes:
            os.truncate(part, 0)
        try:
            _ask_for_rest(url, part, bar())
        except (httpx2.TransportError, HfHubHTTPError) as error:
            vain = vain + 1 if part.stat().st_size <= have else 0
            if vain >= _IN_VAIN or not _may_pass(error) or bar.stopping.wait(_PAUSE_S):
                raise


def _ask_for_rest(url: str, part: Path, bar: Bar) -> None:
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented there
        build_hf_headers,
        hf_raise_for_status,
    )

    have = part.stat().st_size
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout_s) as response:
        hf_raise_for_status(response)
        if have and response.status_code != _PARTIAL:
            bar.update(-have)  # it sends the whole file once more
        with part.open("ab" if response.status_code == _PARTIAL else "wb") as opened:
            for chunk in response.iter_bytes():
                opened.write(chunk)
                bar.update(len(chunk))


def _may_pass(error: Exception) -> bool:
    """Broken connections do, and a hub that has too much to do."""
    response = getattr(error, "response", None)
    return response is None or response.status_code in {408, 429, 500, 502, 503, 504}


@contextmanager
def _locked(lock: BinaryIO, file: RemoteFile) -> Iterator[None]:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ModelFetchError(f"another process is fetching {file.path}; let it end") from None
    yield


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

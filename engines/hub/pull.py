"""From a name to files in the hub's own cache: what is needed, is there room, fetch, check."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.errors import ModelFetchError, UsageError
from common.units import format_bytes
from engines.hub import transfer
from engines.hub.bar import Bar, counting
from engines.hub.reference import MAIN, Reference
from engines.hub.refusals import explained
from engines.hub.selection import RemoteFile, select, weights_of

_AT_ONCE = 4
_LIST_TIMEOUT_S = 30.0


class Progress(Protocol):
    """Told from several threads at once."""

    def begin(self, files: int, total_bytes: int, have_bytes: int) -> None:
        """`have_bytes` of `total_bytes` are on this disk already."""

    def advance(self, n_bytes: int) -> None: ...


@dataclass(frozen=True)
class Listing:
    """What the hub says of one revision, and the files of it that are needed."""

    asked: Reference
    commit: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Pulled:
    """`path` is what `source:` may name: the folder, or the (first) GGUF file."""

    asked: Reference
    commit: str
    path: Path
    files: int
    total_bytes: int
    fetched_bytes: int


Check = Callable[[Listing], None]


def pull(asked: Reference, progress: Progress, check: Check | None = None) -> Pulled:
    """Raises ModelFetchError, or UsageError where the name is not clear or `check` raises it."""
    with explained(asked):
        found = listing(asked)
        if check:
            check(found)
        missing = [file for file in found.files if not _is_cached(found, file)]
        have = sum(transfer.part_bytes(_blob(found, f)) for f in missing if transfer.resumes(f))
        total = sum(file.n_bytes for file in found.files)
        needed = sum(file.n_bytes for file in missing)
        check_room(asked, needed - have, cache_dir())
        progress.begin(len(missing), total, total - needed + have)
        _fetch_all(found, missing, progress.advance)
        _check_sizes(found)
        _remember(found)
    return Pulled(asked, found.commit, path_of(found), len(found.files), total, needed - have)


def listing(asked: Reference) -> Listing:
    from huggingface_hub import HfApi

    info = HfApi().model_info(
        asked.repo, revision=asked.revision, files_metadata=True, timeout=_LIST_TIMEOUT_S
    )
    files = [
        RemoteFile(each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs else None)
        for each in info.siblings or ()
    ]
    try:
        chosen = select(files, asked.wanted)
    except UsageError as error:
        raise UsageError(f"{asked}: {error.message}") from None
    return Listing(asked, str(info.sha), chosen)


def check_room(asked: Reference, needed_bytes: int, where: Path) -> None:
    """Raises ModelFetchError where the disk has too little room."""
    there = next(folder for folder in (where, *where.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed_bytes > free:
        raise ModelFetchError(
            f"{asked} needs {format_bytes(needed_bytes)} more in {where}, where "
            f"{format_bytes(free)} are free: make room (`roundhouse list --available`, "
            "`roundhouse rm`), or set HF_HOME to a larger disk"
        )


def cache_dir() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def repo_dir(repo: str) -> Path:
    return cache_dir() / f"models--{repo.replace('/', '--')}"


def _blob(found: Listing, file: RemoteFile) -> Path:
    return repo_dir(found.asked.repo) / "blobs" / str(file.sha256)


def _snapshot(found: Listing) -> Path:
    return repo_dir(found.asked.repo) / "snapshots" / found.commit


def _is_cached(found: Listing, file: RemoteFile) -> bool:
    return (_snapshot(found) / file.path).is_file() or (
        file.sha256 is not None and _blob(found, file).is_file()
    )


def _fetch_all(found: Listing, missing: Iterable[RemoteFile], count: Callable[[int], None]) -> None:
    stopping = threading.Event()
    bar = counting(count, stopping)
    fetched = set(missing)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(_fetch, found, f, bar, f in fetched) for f in found.files]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(found: Listing, file: RemoteFile, bar: type[Bar], is_missing: bool) -> None:
    """The hub's own client links what is there into the snapshot, and fetches what is small."""
    from huggingface_hub import hf_hub_download, hf_hub_url

    repo = found.asked.repo
    if is_missing and transfer.resumes(file):
        url = hf_hub_url(repo, file.path, revision=found.commit)
        transfer.fetch(url, file, _blob(found, file), bar)
    hf_hub_download(
        repo,
        file.path,
        revision=found.commit,
        tqdm_class=bar,
    )


def _check_sizes(found: Listing) -> None:
    for file in found.files:
        n_bytes = (_snapshot(found) / file.path).stat().st_size
        if n_bytes != file.n_bytes:
            raise ModelFetchError(
                f"{found.asked}: {file.path} is {n_bytes} bytes, the hub says {file.n_bytes}; "
                f"`roundhouse rm {found.asked.repo}`, then pull again"
            )


def _remember(found: Listing) -> None:
    """Which commit the branch was at, last of all: until then the model counts as not there."""
    revision = found.asked.revision or MAIN
    if revision == found.commit:
        return
    ref = repo_dir(found.asked.repo) / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    partial = ref.with_name(f"{ref.name}.partial")
    partial.write_text(found.commit)
    partial.replace(ref)


def path_of(found: Listing) -> Path:
    """In the cache: the folder, or the (first) GGUF file."""
    first = weights_of(found.files)[0]
    folder = _snapshot(found)
    return folder / first.path if first.name.suffix == ".gguf" else folder

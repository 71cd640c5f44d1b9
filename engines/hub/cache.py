"""The hub's cache on this disk: what models are in it, and how they are taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UsageError
from engines.hub import pull
from engines.hub.pull import Listing, cache_dir, repo_dir
from engines.hub.reference import MAIN, Reference
from engines.hub.selection import RemoteFile, select, variants

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo, CachedRevisionInfo


@dataclass(frozen=True)
class CachedModel:
    """What one name would serve: a folder of safetensors, or one GGUF file (all of its parts)."""

    name: str
    repo: str
    path: Path
    n_bytes: int


@dataclass(frozen=True)
class Removal:
    """What would be deleted, and how many bytes that frees; `execute` does it."""

    n_bytes: int
    paths: tuple[Path, ...]
    execute: Callable[[], None] = field(repr=False)


def models() -> list[CachedModel]:
    return sorted(_models(), key=lambda model: model.name)


def path_of(asked: Reference) -> Path | None:
    """The folder or GGUF file of a model that is here with its weights."""
    found = listing_of(asked)
    return pull.path_of(found) if found else None


def listing_of(asked: Reference) -> Listing | None:
    """What is here of what the name asks for; None without weights."""
    repo = repo_dir(asked.repo)
    revision = asked.revision or MAIN
    ref = repo / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    folder = repo / "snapshots" / commit
    if not folder.is_dir():
        return None
    listed = [
        RemoteFile(str(file.relative_to(folder)), file.stat().st_size)
        for file in folder.rglob("*")
        if file.is_file()
    ]
    try:
        return Listing(asked, commit, select(listed, asked.wanted))
    except UsageError:
        return None


def removal(asked: Reference) -> Removal:
    """Raises UsageError where the cache has no such thing."""
    repo = next((each for each in _repos() if each.repo_id == asked.repo), None)
    if repo is None:
        raise UsageError(f"{asked.repo} is not in the hub's cache at {cache_dir()}")
    if asked.wanted:
        return _of_file(repo, asked)
    revisions = [r for r in repo.revisions if asked.revision in (None, r.commit_hash, *r.refs)]
    if not revisions:
        raise UsageError(f"the cache has no revision {asked.revision!r} of {asked.repo}")
    return _of_revisions(repo, revisions)


def _repos() -> Iterable[CachedRepoInfo]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        found = scan_cache_dir(cache_dir())
    except CacheNotFound:
        return []
    return [repo for repo in found.repos if repo.repo_type == "model"]


def _models() -> Iterator[CachedModel]:
    for repo in _repos():
        for revision in repo.revisions:
            yield from _of_revision(repo, revision)


def _of_revision(repo: CachedRepoInfo, revision: CachedRevisionInfo) -> Iterator[CachedModel]:
    at = "" if MAIN in revision.refs else f"@{min(revision.refs, default=revision.commit_hash)}"
    folder = revision.snapshot_path
    sizes = {str(f.file_path.relative_to(folder)): f.size_on_disk for f in revision.files}
    ggufs = [RemoteFile(path, size) for path, size in sizes.items() if path.endswith(".gguf")]
    for first, n_bytes in whole_ggufs(ggufs).items():
        name = f"{repo.repo_id}{at}:{first}" if at else f"{repo.repo_id}/{first}"
        yield CachedModel(name, repo.repo_id, folder / first, n_bytes)
    has_weights = any(path.endswith((".safetensors", ".bin")) for path in sizes)
    if has_weights and "config.json" in sizes:
        yield CachedModel(f"{repo.repo_id}{at}", repo.repo_id, folder, revision.size_on_disk)


def whole_ggufs(files: Iterable[RemoteFile]) -> dict[str, int]:
    """Bytes of each model by its first part's path; a projector is none."""
    return {
        parts[0].path: sum(part.n_bytes for part in parts)
        for name, parts in variants(files).items()
        if "mmproj" not in name
    }


def _of_revisions(repo: CachedRepoInfo, revisions: list[CachedRevisionInfo]) -> Removal:
    from huggingface_hub import scan_cache_dir

    strategy = scan_cache_dir(cache_dir()).delete_revisions(*(r.commit_hash for r in revisions))
    parts = _parts(repo.repo_path) if len(revisions) == len(repo.revisions) else []
    n_bytes = strategy.expected_freed_size + sum(part.stat().st_size for part in parts)

    def execute() -> None:
        for part in parts:
            part.unlink(missing_ok=True)
        strategy.execute()

    return Removal(n_bytes, tuple(r.snapshot_path for r in revisions), execute)


def _of_file(repo: CachedRepoInfo, asked: Reference) -> Removal:
    """Blobs that another revision still links stay."""
    doomed: list[Path] = []
    for revision in repo.revisions:
        if asked.revision not in (None, revision.commit_hash, *revision.refs):
            continue
        files = {
            str(f.file_path.relative_to(revision.snapshot_path)): f.file_path
            for f in revision.files
        }
        listed = [RemoteFile(path, 0) for path in files if path.endswith(".gguf")]
        if listed:
            doomed += [files[each.path] for each in select(listed, asked.wanted)]
    if not doomed:
        raise UsageError(f"the cache has no such file of {asked.repo}: {asked.wanted}")
    kept = {f.blob_path for r in repo.revisions for f in r.files if f.file_path not in doomed}
    blobs = {path.resolve() for path in doomed} - {path.resolve() for path in kept}

    def execute() -> None:
        for path in (*doomed, *blobs):
            path.unlink(missing_ok=True)

    return Removal(sum(blob.stat().st_size for blob in blobs), tuple(doomed), execute)


def _parts(repo: Path) -> list[Path]:
    return sorted((repo / "blobs").glob("*.incomplete"))

"""`roundhouse pull`: fetches a model ahead of time, into the hub's own cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from cli.listing import print_json
from cli.named import named, no_model
from cli.progress import say
from cli.pull_progress import PullProgress
from common.errors import UsageError
from common.units import format_bytes
from engines.hub.reference import parse
from engines.profiles.profile import local_path


def pull(model: str, config: Path | None, as_json: bool) -> None:
    """Raises UsageError for what cannot be pulled, ModelFetchError for what cannot be had."""
    wanted = named(model, config)
    if wanted.is_elsewhere:
        raise UsageError(f"{wanted.name} runs on {wanted.engine}, which has its models itself")
    told = _pull(wanted.source)
    if as_json:
        print_json(told)
        return
    fetched = told["fetched_bytes"]
    how = f"{format_bytes(fetched)} fetched" if fetched else "nothing to fetch"
    print(f"{told['source']}: {format_bytes(told['bytes'])}, {how}; {told['path']}")


def _pull(source: str) -> dict[str, Any]:
    if source.startswith(("http://", "https://")):
        raise UsageError(f"{source} is an endpoint elsewhere; there is nothing to pull")
    if source.startswith("embedded:"):
        return _embedded(source)
    path = Path(source).expanduser()
    if path.exists():
        return _told(source, path.resolve(), 0)
    return _from_hub(source)


def _from_hub(source: str) -> dict[str, Any]:
    from engines.hub.pull import pull as fetch

    asked = parse(source)
    if asked is None:
        raise no_model(source)
    # Its warnings of retries would tear the bar.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    with PullProgress(str(asked)) as progress:
        pulled = fetch(asked, progress)
    return {
        "source": source,
        "revision": pulled.commit,
        "path": str(pulled.path),
        "files": pulled.files,
        "bytes": pulled.total_bytes,
        "fetched_bytes": pulled.fetched_bytes,
    }


def _embedded(source: str) -> dict[str, Any]:
    from engines import gguf_sources, sources

    was_here = local_path(source) is not None
    resolve = gguf_sources.resolve if source.endswith("-gguf") else sources.resolve
    path = resolve(source, source, say)
    told = _told(source, path, 0)
    return told if was_here else told | {"fetched_bytes": told["bytes"]}


def _told(source: str, path: Path, fetched_bytes: int) -> dict[str, Any]:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {
        "source": source,
        "revision": None,
        "path": str(path),
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "fetched_bytes": fetched_bytes,
    }

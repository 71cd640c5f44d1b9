"""What the head of a GGUF file on the hub tells a plan: its sizes, and none of its weights."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from common.errors import ModelFetchError, UsageError
from engines.hub import cache
from engines.hub.pull import Check, Listing, listing
from engines.hub.reference import Reference
from engines.hub.refusals import explained
from engines.hub.selection import weights_of
from placement.models import gguf
from placement.models.facts import ModelFacts

# A vocabulary of 150,000 words with its merges takes six million bytes.
_FIRST_BYTES = 16_000_000
_MOST_BYTES = 256_000_000


def facts_of(asked: Reference, check: Check) -> ModelFacts:
    """Of the file on this disk, else of as much of the hub's as its header takes.

    Raises UsageError where the name is not clear or `check` raises it, ModelFetchError for what
    cannot be had.
    """
    if path := cache.path_of(asked):
        return gguf.facts_of_file(path)
    with explained(asked):
        found = listing(asked)
        check(found)
        return _from_head(found)


def _from_head(found: Listing) -> ModelFacts:
    file = weights_of(found.files)[0]
    wanted = _FIRST_BYTES
    with TemporaryDirectory() as folder:
        head = Path(folder, file.name.name)
        head.write_bytes(_first(found, file.path, wanted))
        while gguf.is_cut_off(head) and wanted < min(file.n_bytes, _MOST_BYTES):
            wanted *= 4
            head.write_bytes(_first(found, file.path, wanted))
        try:
            return gguf.facts_of_file(head)
        except UsageError as error:
            told = error.message.replace(str(head), file.path)
            raise ModelFetchError(f"{found.asked}: {told}") from None


def _first(found: Listing, name: str, n_bytes: int) -> bytes:
    from huggingface_hub import constants, get_session, hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented there
        build_hf_headers,
        hf_raise_for_status,
    )

    url = hf_hub_url(found.asked.repo, name, revision=found.commit)
    headers = {**build_hf_headers(), "Range": f"bytes=0-{n_bytes - 1}"}
    timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
    head = bytearray()
    with get_session().stream("GET", url, headers=headers, timeout=timeout_s) as response:
        hf_raise_for_status(response)
        for chunk in response.iter_bytes():
            head += chunk
            if len(head) >= n_bytes:  # a hub that knows no ranges sends all of it
                break
    return bytes(head)

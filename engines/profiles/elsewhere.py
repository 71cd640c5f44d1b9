"""A model that is still on the hub only: its small files are read, into a folder that goes away.

Not into the cache: a snapshot without weights there would be taken for the model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from engines.hub.pull import Listing, listing
from engines.hub.reference import Reference
from engines.hub.refusals import explained
from engines.hub.selection import weights_of
from engines.profiles.found import Found, found
from engines.profiles.look import look, of_card

_READ = {
    *("config.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json"),
    *("hf_quant_config.json", "README.md"),
}
_ORIGIN = "hub's list of files"


def look_on_hub(asked: Reference) -> Found:
    """Raises ModelFetchError or UsageError, as a pull of it would."""
    with explained(asked), tempfile.TemporaryDirectory() as folder:
        listed = listing(asked)
        _fetch(listed, folder)
        card = Path(folder) / "README.md"
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        return _weights(listed).over(look(Path(folder))).over(of_card(text))


def _fetch(listed: Listing, folder: str) -> None:
    from huggingface_hub import hf_hub_download

    for file in listed.files:
        if file.path in _READ:
            hf_hub_download(listed.asked.repo, file.path, revision=listed.commit, local_dir=folder)


def _weights(listed: Listing) -> Found:
    weights = weights_of(listed.files)
    suffix = weights[0].name.suffix
    form = {".safetensors": "safetensors", ".gguf": "gguf"}.get(suffix, "pytorch")
    return found(
        _ORIGIN,
        format=form,
        weights_bytes=sum(file.n_bytes for file in weights),
        quantization=weights[0].quant if form == "gguf" else None,
    )

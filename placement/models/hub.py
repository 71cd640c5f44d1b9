"""A model's metadata from the hub: its config and the headers of its weights, never the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import ModelFetchError
from placement.models.facts import StoredWeights

_QUANTIZATION_FILE = "hf_quant_config.json"  # where ModelOpt describes what config.json does not


def cached_folder(hub_id: str, revision: str | None = None) -> Path | None:
    """The model's folder in the hub's cache on this disk, if its config is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def config_of(hub_id: str, revision: str | None = None) -> dict[str, Any]:
    """The config.json, with ModelOpt's description of the quantization where there is one."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    with _explained(hub_id):
        # The download itself would try an unreachable hub for 23 s.
        get_hf_file_metadata(hf_hub_url(hub_id, "config.json", revision=revision))
        config = _json(hub_id, "config.json", revision)
        if "quantization_config" in config:
            return config
        extra = _optional(hub_id, _QUANTIZATION_FILE, revision)
        return {**config, "quantization_config": extra} if extra else config


def stored_of(hub_id: str, revision: str | None = None) -> StoredWeights | None:
    """Exact bytes from the safetensors headers, fetched by range; None where there are none."""
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

    with _explained(hub_id):
        try:
            found = get_safetensors_metadata(hub_id, revision=revision)
        except (NotASafetensorsRepoError, SafetensorsParsingError):
            return None
    tensors: dict[str, int] = {}
    itemsizes: dict[str, int] = {}
    for file in found.files_metadata.values():
        for name, info in file.tensors.items():
            begin, end = info.data_offsets
            tensors[name] = end - begin
            if info.dtype in {"F64", "F32", "F16", "BF16"} and info.parameter_count:
                itemsizes[name] = (end - begin) // info.parameter_count
    return StoredWeights(tensors, itemsizes)


def _optional(hub_id: str, name: str, revision: str | None) -> dict[str, Any] | None:
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return _json(hub_id, name, revision)
    except EntryNotFoundError:
        return None


def _json(hub_id: str, name: str, revision: str | None) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    text = Path(hf_hub_download(hub_id, name, revision=revision)).read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except ValueError:
        raise ModelFetchError(f"{name} of {hub_id} on the hub is no JSON") from None
    return dict(found)


@contextmanager
def _explained(hub_id: str) -> Iterator[None]:
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except RevisionNotFoundError:
        raise ModelFetchError(f"{hub_id} has no such revision on the hub") from None
    except GatedRepoError:
        raise ModelFetchError(
            f"{hub_id} is gated: accept its terms on the hub, then set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise ModelFetchError(
            f"the hub has no model {hub_id!r} (or it is private: set HF_TOKEN)"
        ) from None
    except EntryNotFoundError as error:
        if _unreachable(error):
            raise _no_hub(hub_id, error) from None
        raise ModelFetchError(
            f"{hub_id} on the hub has no config.json; for a GGUF model, fetch one .gguf file and "
            "name that"
        ) from None
    except (HfHubHTTPError, httpx2.TransportError, OSError) as error:
        raise _no_hub(hub_id, error) from None


def _unreachable(error: Exception) -> bool:
    """The hub's library calls it a missing entry, too, when it found nothing on disk and no hub."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    return isinstance(error, LocalEntryNotFoundError)


def _no_hub(hub_id: str, error: Exception) -> ModelFetchError:
    return ModelFetchError(
        f"{hub_id} is not in the hub's cache on this disk, and the hub cannot be reached "
        f"({type(error).__name__}); use a folder or a config.json on this disk"
    )

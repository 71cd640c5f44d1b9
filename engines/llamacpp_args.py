"""What a llama.cpp replica is told: its slots, their context, its threads, and `engine_args`.

xllamacpp's parameters are attributes of a compiled class, so those that a user may set are listed
here, and a typing error is told before anything is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from common.errors import StartError
from engines import arguments
from engines.base import ReplicaSpec

DEFAULT_SLOTS = 4
_CONTEXT_STEP_TOKENS = 256  # llama.cpp rounds a slot's context up to it
_ALL_LAYERS = 999
_CPU_BATCH_TOKENS, _GPU_BATCH_TOKENS = 512, 2048
# Beside one thread for each slot's stream: health, metrics, and connections that are kept open.
_SPARE_HTTP_THREADS = 8

# By the name in xllamacpp's CommonParams. Where its class nests them, the path is below.
_KNOWN: dict[str, type] = {
    "n_parallel": int,
    "n_threads": int,
    "n_threads_batch": int,
    "n_batch": int,
    "n_ubatch": int,
    "n_gpu_layers": int,
    "main_gpu": int,
    "no_kv_offload": bool,
    "warmup": bool,
    "swa_full": bool,
    "chat_template": str,
    "use_jinja": bool,
    "embedding": bool,
    "cache_prompt": bool,
    "cache_ram_mib": int,
    "n_cache_reuse": int,
    "slot_prompt_similarity": float,
    "verbosity": int,
}
_PATHS = {
    "n_threads": "cpuparams.n_threads",
    "n_threads_batch": "cpuparams_batch.n_threads",
}
# What Roundhouse decides itself, and where a user says it instead.
_OURS = {
    "model": "source",
    "model_alias": "the model's name and aliases",
    "hostnames": "nothing: an engine listens on loopback only",
    "port": "server.port",
    "api_keys": "server.api_keys",
    "n_ctx": "max_model_len, which every slot gets",
    "kv_unified": "nothing: every slot has its own context, so that none runs out of it",
}


def check(model: str, engine_args: Mapping[str, Any]) -> None:
    """Raises ConfigError for a name that is not known, or a value that cannot be right."""
    arguments.check("llamacpp", model, engine_args, _KNOWN, _OURS, slots="n_parallel")


def require_installed() -> None:
    """Raises StartError where xllamacpp is missing."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise StartError(
            "engine llamacpp needs the package xllamacpp, which is not installed: "
            "`make setup ENGINE=llamacpp`, or pip install xllamacpp into Roundhouse's .venv"
        )


def slots_of(engine_args: Mapping[str, Any]) -> int:
    """How many requests one replica works on at once."""
    return int(engine_args.get("n_parallel", DEFAULT_SLOTS))


def context_tokens(max_model_len: int) -> int:
    """What llama.cpp makes of one slot's length."""
    return -(-max_model_len // _CONTEXT_STEP_TOKENS) * _CONTEXT_STEP_TOKENS


def parameters(spec: ReplicaSpec) -> dict[str, Any]:
    """Values for CommonParams by dotted path. The user's `engine_args` win over our defaults.

    llama.cpp divides `n_ctx` among its slots, so it is the slots' number times what each must hold.
    """
    if spec.max_model_len is None:
        raise ValueError("a llama.cpp replica needs max_model_len")
    slots = slots_of(spec.engine_args)
    values: dict[str, Any] = {
        "model.path": spec.source,
        "model_alias": set(spec.served_names[:1]),
        "hostnames": ["127.0.0.1"],
        "port": 0,
        # Of a single key llama.cpp logs the last four characters, of two only their number.
        "api_keys": [spec.token, spec.token] if spec.token else [],
        "n_parallel": slots,
        "n_ctx": slots * context_tokens(spec.max_model_len),
        "kv_unified": False,  # one pool for all slots would run dry under long requests
        "fit_params": False,  # the plan has decided; nothing is shrunk behind its back
        "n_gpu_layers": 0 if spec.on_cpu else _ALL_LAYERS,
        # A prompt holds up all other slots for one batch of it.
        "n_batch": _CPU_BATCH_TOKENS if spec.on_cpu else _GPU_BATCH_TOKENS,
        "n_threads_http": slots + _SPARE_HTTP_THREADS,
        "cache_ram_mib": 0,  # by default up to 8 GiB of main memory, which no plan knows of
        "endpoint_metrics": True,
        "endpoint_slots": False,  # it shows prompts
        "ui": False,
    }
    # By default all cores, also for what a GPU computes: several engines would hold each other up.
    n_threads = len(spec.cpu_ids[0]) if spec.cpu_ids else spec.n_threads
    if n_threads is not None:
        values.update(dict.fromkeys(_PATHS.values(), n_threads))
    values.update({_PATHS.get(name, name): value for name, value in spec.engine_args.items()})
    return values

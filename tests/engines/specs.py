"""What a replica is told, for tests: a plain mapping, as it travels to another process."""

from __future__ import annotations

from typing import Any


def spec_of(**given: Any) -> dict[str, Any]:
    return {
        "id": "m-0",
        "model": "m",
        "engine": "llamacpp",
        "source": "/m.gguf",
        "served_names": ["m", "alias"],
        "log_path": "/dev/null",
        "load_timeout_s": 30,
        "stall_timeout_s": 30,
        "max_model_len": 2048,
        **given,
    }

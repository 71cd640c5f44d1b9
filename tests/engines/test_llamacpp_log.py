"""What llama.cpp's log says."""

from __future__ import annotations

import pytest

from engines.llamacpp_log import cause

LOADING = """0.00.1 I llama_model_loader: loaded meta data
0.00.2 E llama_model_load: error loading model: unknown model architecture: 'nonesuch'
0.00.3 E llama_model_load_from_file_impl: failed to load model
0.00.4 E srv    load_model: failed to load model, '/m.gguf'
"""


@pytest.mark.parametrize(
    ("text", "own", "message", "out_of_memory"),
    [
        (LOADING, "RuntimeError: no", "unknown model architecture: 'nonesuch'", False),
        ("", "RuntimeError: no", "RuntimeError: no", False),
        ("E failed to allocate CPU buffer", "no", "failed to allocate CPU buffer", True),
        ("cudaMalloc failed: out of memory", "no", "out of memory", True),
        ("", "llama.cpp left with exit code -9", "exit code -9", True),
    ],
)
def test_the_cause(text: str, own: str, message: str, out_of_memory: bool) -> None:
    found = cause(text, own)
    assert message in found.message
    assert found.out_of_memory is out_of_memory

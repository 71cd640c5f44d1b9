"""A Llama small enough to start in seconds: random weights, 4 heads, 2 KV heads, float32.

Its words mean nothing, but tensor parallel size 2 divides its heads, and greedy decoding must give
the same tokens however it is split.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def make(tokenizer_from: Path, folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(20)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=256,  # 64 a head: CPU attention knows no 16
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tokenizer_from / name).exists():
            shutil.copy(tokenizer_from / name, folder / name)
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))

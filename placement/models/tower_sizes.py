"""Sizes of released models' towers, for configs that say nothing of them."""

from __future__ import annotations

SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
PIXTRAL = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
}
LLAMA4 = {
    "hidden_size": 1408,
    "intermediate_size": 5632,
    "num_hidden_layers": 34,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 336,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
    "vision_output_dim": 4096,
}
CLIP = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 336,
}
INTERN = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
GEMMA4 = SO400M | {"patch_size": 16, "position_embedding_size": 10240}
GLM4V = {
    "hidden_size": 1536,
    "intermediate_size": 13696,
    "depth": 24,
    "num_heads": 12,
    "patch_size": 14,
    "image_size": 336,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
}
QWEN_COMMON = {
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_heads": 16,
}
QWEN = {
    "2": QWEN_COMMON | {"embed_dim": 1280, "depth": 32, "mlp_ratio": 4},
    "2.5": QWEN_COMMON | {"hidden_size": 1280, "intermediate_size": 3420, "depth": 32},
    "3": QWEN_COMMON
    | {
        "patch_size": 16,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "depth": 27,
        "num_position_embeddings": 2304,
    },
}

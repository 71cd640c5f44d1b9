"""What files tell of a model, and where each of it was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.profiles import card
from engines.profiles.look import look
from tests.engines.profiles import model_files as files

CARD = "---\nlicense: apache-2.0\nlanguage: [en, ko]\nbase_model: org/base\n---\n# A model\n"


def test_a_folder(tmp_path: Path) -> None:
    told = look(files.folder(tmp_path, CARD, files.TOOLS_TEMPLATE))
    weights = (tmp_path / "model.safetensors").read_bytes()
    header = 8 + int.from_bytes(weights[:8], "little")
    assert told.get("format") == "safetensors"
    assert told.get("architecture") == "LlamaForCausalLM"
    assert told.get("max_model_len") == 512
    assert told.get("weights_bytes") == len(weights) - header
    assert told.get("params") == (len(weights) - header) // 2  # bfloat16
    # 4 layers, keys and values, 2 heads of 16, 2 bytes; 512 tokens and a spare block of 16
    assert told.get("kv_bytes_per_request") == 4 * 2 * 2 * 16 * 2 * (512 + 16)
    assert told.get("modalities") == ("text",)
    assert (told.get("chat_template"), told.get("tools")) == (True, True)
    assert told.get("license") == "apache-2.0"
    assert told.get("languages") == ("en", "ko")
    assert told.traits["license"].origin == "README.md"
    assert told.traits["max_model_len"].origin == "config.json"


def test_a_template_without_tools(tmp_path: Path) -> None:
    told = look(files.folder(tmp_path, template=files.TEMPLATE))
    assert (told.get("chat_template"), told.get("tools")) == (True, False)


def test_what_no_file_tells_is_not_known(tmp_path: Path) -> None:
    told = look(files.folder(tmp_path))
    assert told.get("license") is None
    assert told.get("tools") is None
    assert told.get("chat_template") is None


def test_a_template_in_a_file_of_its_own_and_several_in_one(tmp_path: Path) -> None:
    folder = files.folder(tmp_path, template=files.TEMPLATE)
    (folder / "chat_template.jinja").write_text(files.TOOLS_TEMPLATE)
    assert look(folder).get("tools") is True
    (folder / "chat_template.jinja").unlink()
    several = [{"name": "default", "template": "x"}, {"name": "tool_use", "template": "{{tools}}"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert look(folder).get("tools") is True


def test_what_it_takes_beside_text(tmp_path: Path) -> None:
    folder = files.folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["NobodyKnowsThis"], "vision_config": {"depth": 2}}
    (folder / "config.json").write_text(json.dumps(config))
    assert look(folder).get("modalities") == ("text", "image")
    del config["vision_config"]
    (folder / "config.json").write_text(json.dumps(config))
    assert look(folder).get("modalities") is None  # of an unknown architecture nothing is sure


def test_a_gguf_file(tmp_path: Path) -> None:
    file = files.gguf_file(tmp_path / "m.gguf", files.TOOLS_TEMPLATE, license_="mit")
    told = look(file)
    assert told.get("format") == "gguf"
    assert told.get("architecture") == "llama"
    assert told.get("quantization") == "Q4_0"
    assert told.get("max_model_len") == 2048
    assert told.get("params") == files.elements()
    assert told.get("weights_bytes") == (files.elements() - 64) * 18 // 32 + 64 * 4
    assert told.get("bits_per_weight") == pytest.approx(4.5)
    # 2 layers, keys and values, 2 heads of 16, 2 bytes; 2,048 tokens and a spare block of 16
    assert told.get("kv_bytes_per_request") == 2 * 2 * 2 * 16 * 2 * (2048 + 16)
    assert (told.get("tools"), told.get("license")) == (True, "mit")
    assert told.traits["params"].origin == "GGUF metadata"
    assert told.get("modalities") == ("text",)


def test_a_file_that_does_not_name_its_mix_is_of_its_commonest_type(tmp_path: Path) -> None:
    file = files.gguf_file(tmp_path / "m.gguf", file_type=None)
    assert look(file).get("quantization") == "Q4_0"


def test_what_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03")
    (tmp_path / "config.json").write_text("{broken")
    for path in (tmp_path / "broken.gguf", tmp_path, tmp_path / "missing"):
        assert look(path).traits == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit"),
        ("---\nlanguage: en\n---\n", None),
        ("# no front matter\nlicense: mit\n", None),
        ("---\n{broken: [\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_of_a_card(text: str, expected: str | None) -> None:
    assert card.read(text).license == expected

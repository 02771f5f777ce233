from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from exporter.staging import staging
from exporter.tokenizer import export_tokenizer
from runtime.bundle import Bundle
from tests.tiny import tiny_tokenizer


@pytest.mark.parametrize("text", ["", "a castle, clouds", "Ünï çødé 水 🏰", "a " * 100])
def test_the_exported_tokenizer_is_the_bases(text: str, bundle: Bundle, tiny_base: Path) -> None:
    exported = bundle.manifest.tokenizer
    tokenizer = Tokenizer.from_file(str(bundle.path(exported.tokenizer_json)))
    tokenizer.enable_truncation(exported.max_length)
    tokenizer.enable_padding(length=exported.max_length, pad_id=exported.pad_token_id)
    reference = CLIPTokenizer.from_pretrained(tiny_base / "tokenizer")
    expected = reference(text, padding="max_length", truncation=True).input_ids
    assert tokenizer.encode(text).ids == expected
    assert expected[0] == exported.bos_token_id
    assert exported.eos_token_id in expected


def test_the_config_does_not_say_where_it_came_from(bundle: Bundle, tiny_base: Path) -> None:
    text = bundle.path(bundle.manifest.tokenizer.tokenizer_config).read_text()
    assert str(tiny_base.parent) not in text
    assert "name_or_path" not in text


def test_a_tokenizer_without_a_config_has_clips_length(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path / "tokenizer")  # vocabulary and merges alone
    with staging(tmp_path / "out") as stage:
        assert export_tokenizer(tmp_path / "tokenizer", stage).max_length == 77

"""The tokenizer as `tokenizer.json`, which the browser and the `tokenizers` package both read."""

import json
import tempfile
from pathlib import Path

from transformers import CLIPTokenizerFast

from exporter.slotting import TOKENS
from exporter.staging import Stage
from runtime.manifest import Tokenizer


def export_tokenizer(folder: Path, stage: Stage) -> Tokenizer:
    """Stages the CLIP tokenizer of a pipeline's `tokenizer` folder."""
    tokenizer = CLIPTokenizerFast.from_pretrained(folder)
    # Without a tokenizer_config.json it would be 10^30.
    tokenizer.model_max_length = min(tokenizer.model_max_length, TOKENS)
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer.save_pretrained(temporary)
        files = {
            name: json.loads((Path(temporary) / f"{name}.json").read_bytes())
            for name in ("tokenizer", "tokenizer_config")
        }
    files["tokenizer_config"].pop("name_or_path", None)  # where it was loaded from
    refs = {
        name: stage.add(name, ".json", json.dumps(data, ensure_ascii=False).encode())
        for name, data in files.items()
    }
    return Tokenizer(
        tokenizer_json=refs["tokenizer"],
        tokenizer_config=refs["tokenizer_config"],
        max_length=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from exporter.inspection import inspect
from runtime.bundle import Bundle
from runtime.tensors import read_tensors, write_tensors

EMBEDDED = Path(__file__).parents[2] / "models" / "loras" / "miyazaki.safetensors"


def test_an_embedded_lora_tells_all_about_itself() -> None:
    found = inspect(EMBEDDED)
    assert found.key_style == "kohya"
    assert found.family == "Stable Diffusion 1 or 2"
    assert found.kinds == {"LoRA": 84}
    assert found.ranks == {8: 84}
    assert found.trigger_words == ["miyazaki style"]
    assert found.preferred_strength == 0.8
    assert found.tags  # counted by our trainer as kohya's does
    assert (found.unet_modules, found.text_encoder_modules) == (84, 0)
    assert found.fit is None
    assert found.warnings == []


def test_a_bundle_says_what_it_makes_of_it(
    bundle: Bundle, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    tensors, metadata = read_tensors(tiny_loras["wobble"])
    known = "lora_te_text_model_encoder_layers_1_mlp_fc1"
    for part, shape in (("down", (40, 32)), ("up", (64, 40))):
        for key in ("lora_unet_strange", "lora_te_text_model_layer", known):
            tensors[f"{key}.lora_{part}.weight"] = np.ones(shape, np.float16)
    wide = next(key for key in tensors if key.endswith("attn1_to_q.lora_down.weight"))
    wide = wide.removesuffix(".lora_down.weight")
    tensors[f"{wide}.lora_down.weight"] = np.ones((2, 999), np.float16)
    path = tmp_path / "odd.safetensors"
    write_tensors(path, tensors, {**metadata, "ss_tag_frequency": "{nonsense"})
    found = inspect(path, bundle)
    assert found.fit
    assert found.fit.unmatched == ["lora_te_text_model_layer", "lora_unet_strange"]
    assert found.text_encoder_modules == 2
    # The known one of the text encoder is as wide as the tiny one's, and one of the UNet is not.
    assert found.fit.matched + len(found.fit.misfits) == (
        found.unet_modules + found.text_encoder_modules - 2
    )
    assert list(found.fit.misfits) == [wide]
    assert "where the base has" in found.fit.misfits[wide]
    assert found.fit.percent_of_base > 0
    assert found.tags == {}
    assert [warning.split()[:2] for warning in found.warnings] == [["rank", "40"]]


def test_the_command_prints_a_table_or_json(bundle: Bundle, tiny_loras: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "exporter", "inspect", str(tiny_loras["wiggle"])]
    command += ["--bundle", str(bundle.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "kohya" in done.stdout
    assert "LoRA x" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found == json.loads(inspect(tiny_loras["wiggle"], bundle).model_dump_json())
    assert found["fit"]["unmatched"] == []


def test_what_strangers_wrote_is_printed_as_it_is(
    bundle: Bundle, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    """No markup of rich's, no emoji codes, no commands for a terminal."""
    tensors, _ = read_tensors(tiny_loras["wobble"])
    metadata = {
        "modelspec.title": "[bold]Title[/b]",
        "modelspec.trigger_phrase": "[/b], [soft] light, :smile:, \x1b[2J",
        "ss_tag_frequency": json.dumps({"a": {"[red]": 3}}),
    }
    path = tmp_path / "[x] evil.safetensors"
    write_tensors(path, tensors, metadata)
    command = [sys.executable, "-m", "exporter", "inspect", str(path)]
    command += ["--bundle", str(bundle.folder)]
    wide = os.environ | {"COLUMNS": "300"}  # no line breaks in the path
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=wide)
    assert done.returncode == 0, done.stderr
    for text in ("[bold]Title[/b]", "[/b], [soft] light, :smile:", "[red] x3", "[x] evil"):
        assert text in done.stdout
    assert "\x1b" not in done.stdout
    path.write_bytes(path.read_bytes()[:-100])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "[x] evil.safetensors" in done.stderr

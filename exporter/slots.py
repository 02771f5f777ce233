"""Which modules of a UNet take a LoRA, and what every trainer calls them.

The names come from: kohya's `sd-scripts` (`networks/lora.py`), diffusers' and PEFT's savers, the
attention processors of diffusers < 0.21, and the original `ldm` code (`input_blocks.4.1...`), which
sgm-based trainers keep. Block numbers of the last follow diffusers'
`convert_diffusers_to_original_stable_diffusion.py`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Kind = Literal["linear", "conv1x1"]

# What kohya trains by default: attention, feed-forward, and the projections around them.
TRANSFORMER = re.compile(
    r"(?P<block>(down_blocks|up_blocks)\.\d+|mid_block)\.attentions\.\d+\."
    r"(proj_in|proj_out|transformer_blocks\.\d+\."
    r"(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.0\.proj|ff\.net\.2))"
)
_ATTENTION = re.compile(r"(?P<attention>.*\.attn[12])\.(?P<projection>to_(?:q|k|v|out))(\.0)?")
_TRANSFORMER_BLOCK = re.compile(
    r"(?:(?P<way>down|up)_blocks\.(?P<block>\d+)|mid_block)\.attentions\.(?P<index>\d+)\.(?P<rest>.*)"
)


def transformer_paths(paths: Iterable[str]) -> list[str]:
    """The module paths of the `transformer` slot set, in the order given."""
    return [path for path in paths if TRANSFORMER.fullmatch(path)]


def input_names(path: str) -> tuple[str, str]:
    """The graph inputs of a slot: A `[in, rank]` and B `[rank, out]`."""
    return f"{path}.lora_A", f"{path}.lora_B"


def aliases(path: str, unet_config: Mapping[str, Any]) -> list[str]:
    """Every name that a LoRA file may use for the module at a diffusers `path`.

    Args:
        path: module path inside the UNet.
        unet_config: the UNet's `config.json`; `layers_per_block` numbers the ldm blocks.
    """
    names = [
        f"lora_unet_{path.replace('.', '_')}",
        f"unet.{path}",
        path,
        f"base_model.model.{path}",
        f"unet.base_model.model.{path}",
    ]
    if match := _ATTENTION.fullmatch(path):
        processor = f"{match['attention']}.processor.{match['projection']}"
        names += [processor, f"unet.{processor}"]
    if original := ldm_path(path, unet_config):
        names.append(f"lora_unet_{original.replace('.', '_')}")
    return names


def ldm_path(path: str, unet_config: Mapping[str, Any]) -> str | None:
    """The original (`ldm`, `sgm`) name of a transformer module, or None where it has none."""
    match = _TRANSFORMER_BLOCK.fullmatch(path)
    layers = unet_config["layers_per_block"]
    if match is None or not isinstance(layers, int):
        return None
    index, rest = int(match["index"]), match["rest"]
    if match["way"] is None:
        return f"middle_block.1.{rest}"
    block = int(match["block"]) * (layers + 1) + index
    # Block 0 of the way down is conv_in, and each level ends in a downsampler of its own number.
    return (
        f"input_blocks.{block + 1}.1.{rest}"
        if match["way"] == "down"
        else (f"output_blocks.{block}.1.{rest}")
    )

"""Which modules of a UNet or a text encoder take a LoRA, and what every trainer calls them.

The names come from: kohya's `sd-scripts` (`networks/lora.py`), diffusers' and PEFT's savers, the
attention processors of diffusers < 0.21, and the original `ldm` code (`input_blocks.4.1...`), which
sgm-based trainers keep. Block numbers of the last follow diffusers'
`convert_diffusers_to_original_stable_diffusion.py`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from exporter.quantisation import BLOCK
from exporter.shards import Place
from runtime.manifest import Quantised, Slot, WeightPlace

Kind = Literal["linear", "conv1x1", "conv3x3"]
SlotSet = Literal["attn", "transformer", "full"]


class SlotShape(NamedTuple):
    """What a slot's module is, and the sizes of A `[ins, rank]` and B `[rank, outs]`.

    `ins` are the input channels, times 9 for a 3x3 kernel. `transposed`: graphs read the weight as
    `[ins, outs]`, as a MatMul node wants it, instead of PyTorch's `[outs, ins]`.
    """

    kind: Kind
    ins: int
    outs: int
    transposed: bool


_BLOCK = r"((down_blocks|up_blocks)\.\d+|mid_block)\."
_ATTN = rf"{_BLOCK}attentions\.\d+\.transformer_blocks\.\d+\.attn[12]\.to_(q|k|v|out\.0)"
_AROUND = (
    rf"{_BLOCK}attentions\.\d+\."
    r"(proj_in|proj_out|transformer_blocks\.\d+\.ff\.net\.(0\.proj|2))"
)
_REST = (
    rf"{_BLOCK}(resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)|(down|up)samplers\.0\.conv)"
    r"|time_embedding\.linear_[12]|conv_in|conv_out"
)
_SETS: dict[SlotSet, re.Pattern[str]] = {
    "attn": re.compile(_ATTN),
    # what kohya trains by default: attention, feed-forward, and the projections around them
    "transformer": re.compile(f"{_ATTN}|{_AROUND}"),
    # LoCon too (https://github.com/KohakuBlueleaf/LyCORIS): every Linear and convolution
    "full": re.compile(f"{_ATTN}|{_AROUND}|{_REST}"),
}
# What kohya and diffusers train of a CLIP text encoder: every Linear of its layers.
_TEXT = re.compile(
    r"text_encoder\.text_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
)
_ATTENTION = re.compile(r"(?P<attention>.*\.attn[12])\.(?P<projection>to_(?:q|k|v|out))(\.0)?")
_IN_A_BLOCK = re.compile(
    r"(?:(?P<way>down|up)_blocks\.(?P<block>\d+)|mid_block)\."
    r"(?P<layer>attentions|resnets|downsamplers|upsamplers)\.(?P<index>\d+)\.(?P<rest>.*)"
)
_LDM_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "time_emb_proj": "emb_layers.1",
}
_LDM_ALONE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
}


def slot_paths(paths: Iterable[str], slot_set: SlotSet) -> list[str]:
    """The module paths of a slot set, in the order given."""
    return [path for path in paths if _SETS[slot_set].fullmatch(path)]


def text_slot_paths(paths: Iterable[str]) -> list[str]:
    """Those of the paths `text_encoder.text_model...` that are slots, in the order given."""
    return [path for path in paths if _TEXT.fullmatch(path)]


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
        names.append(f"diffusion_model.{original}")  # ComfyUI's own savers
    # LyCORIS' wrapper, where it is not used through kohya's scripts
    names.append(f"lycoris_{path.replace('.', '_')}")
    return names


def text_aliases(path: str) -> list[str]:
    """Every name that a LoRA file may use for the module at `text_encoder.text_model...`."""
    inner = path.removeprefix("text_encoder.")
    flat = inner.replace(".", "_")
    names = [
        f"lora_te_{flat}",
        f"lora_te1_{flat}",  # of trainers that number them as SDXL's
        path,
        inner,
        f"base_model.model.{inner}",
        f"text_encoder.base_model.model.{inner}",
        f"text_encoders.clip_l.transformer.{inner}",  # ComfyUI's own savers
        f"text_encoders.clip_h.transformer.{inner}",  # the same, of Stable Diffusion 2
        f"lycoris_{flat}",
    ]
    # diffusers 0.16 named the projections as the UNet's: `...self_attn.to_q_lora.down.weight`
    layer, _, projection = path.rpartition(".self_attn.")
    if layer:
        names.append(f"{layer}.self_attn.to_{projection.removesuffix('_proj')}")
    return names


def make_slots(
    shapes: Mapping[str, SlotShape],
    places: Mapping[str, Place],
    aliases_of: Callable[[str], list[str]],
) -> list[Slot]:
    """The slots of a traced model whose weights `<path>.weight` lie in `places`, as do the
    `<path>.scales` of quantised ones."""
    slots = []
    for path, shape in shapes.items():
        input_a, input_b = input_names(path)
        slots.append(
            Slot(
                name=path,
                kind=shape.kind,
                in_width=shape.ins,
                out_width=shape.outs,
                input_a=input_a,
                input_b=input_b,
                aliases=aliases_of(path),
                weight=_weight_place(shape, places[f"{path}.weight"], places.get(f"{path}.scales")),
            )
        )
    return slots


def _weight_place(shape: SlotShape, place: Place, scales: Place | None) -> WeightPlace:
    quantised = scales and Quantised.model_validate(
        {
            "bits": place.shape[-1] * 8 // BLOCK,
            "block": BLOCK,
            "scales_shard": scales.shard,
            "scales_offset": scales.offset,
        }
    )
    return WeightPlace.model_validate(
        {
            "shard": place.shard,
            "offset": place.offset,
            "shape": [shape.ins, shape.outs] if quantised else list(place.shape),
            "dtype": place.dtype.name,
            "transposed": shape.transposed,
            "quantised": quantised,
        }
    )


def ldm_path(path: str, unet_config: Mapping[str, Any]) -> str | None:
    """The original (`ldm`, `sgm`) name of a module, or None where it has none."""
    if path in _LDM_ALONE:
        return _LDM_ALONE[path]
    match = _IN_A_BLOCK.fullmatch(path)
    layers = unet_config["layers_per_block"]
    if match is None or not isinstance(layers, int):
        return None
    way, layer, index, rest = match["way"], match["layer"], int(match["index"]), match["rest"]
    if layer == "resnets":
        rest = _LDM_RESNET[rest]
    if way is None:  # resnet, attention, resnet
        return f"middle_block.{1 if layer == 'attentions' else 2 * index}.{rest}"
    # Each level has `layers` numbers and, going down, one more for its downsampler; going up, the
    # upsampler is the last part of the level's last number. Block 0 of the way down is conv_in.
    first = int(match["block"]) * (layers + 1)
    if layer == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op"
    if layer == "upsamplers":
        has_attention = "Attn" in unet_config["up_block_types"][int(match["block"])]
        return f"output_blocks.{first + layers}.{2 if has_attention else 1}.conv"
    part = 1 if layer == "attentions" else 0
    return (
        f"input_blocks.{first + index + 1}.{part}.{rest}"
        if way == "down"
        else f"output_blocks.{first + index}.{part}.{rest}"
    )

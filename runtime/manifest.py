"""What a bundle's `manifest.json` says: the schema that Python, JSON Schema and TypeScript share.

`python -m runtime.manifest` prints the JSON Schema; `web/` generates its types from it.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RelativeUrl = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
]
Provider = Literal["webgpu", "jsep", "wasm", "cpu", "cuda"]


class Strict(BaseModel):
    """A record in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRef(Strict):
    """A file of the bundle. Its name carries its content hash, so it never changes."""

    url: RelativeUrl = Field(description="path relative to manifest.json")
    bytes: int = Field(ge=0)
    sha256: Sha256


class Graph(Strict):
    """One ONNX graph without weights; its initializers lie in shards, by file name and offset.

    All floating-point inputs and outputs are float32 whatever the compute precision is.
    """

    file: FileRef
    compute: Literal["fp16", "fp32"]
    attention: Literal["fused", "plain"]
    providers: list[Provider] = Field(description="execution providers this graph suits")
    shards: list[str] = Field(description="keys of Manifest.shards that the graph reads")


class Golden(Strict):
    """One UNet step computed by PyTorch in fp32, to hold a device against.

    The file is safetensors: `sample [2, C, h, w]`, `timestep [1]`, `encoder_hidden_states
    [2, T, D]` and `out_sample [2, C, h, w]`, all float32. On a variant with slots the step is
    taken with a LoRA drawn from the noise rule: for each slot in table order, A `[in, rank]`
    then B `[rank, out]`, each `randn` from one generator seeded with `lora_seed`, times
    `lora_std`.
    """

    file: FileRef
    lora_seed: int
    lora_rank: int = Field(ge=1)
    lora_std: float = Field(description="standard deviation of every A and B element")
    tolerance_fp32: float = Field(description="largest error allowed, over max abs out_sample")
    tolerance_fp16: float


class UNetVariant(Strict):
    """A denoiser: the base with slots, or a merged style without."""

    name: str = Field(description="`base`, or the style's name for a merged one")
    slots: bool = Field(description="whether graphs take LoRA inputs")
    graphs: list[Graph]
    golden: Golden


class Part(Strict):
    """The text encoder, VAE encoder or VAE decoder, with Optimum's input and output names."""

    graph: Graph


class Tokenizer(Strict):
    """A CLIP tokenizer."""

    tokenizer_json: FileRef = Field(description="Hugging Face tokenizer.json")
    tokenizer_config: FileRef = Field(description="tokenizer_config.json")
    max_length: int = Field(ge=1, description="tokens per prompt, start and end included")
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int


class Model(Strict):
    """Sizes and constants of the pipeline."""

    sample_size: int = Field(description="default latent height and width")
    latent_channels: int
    in_channels: int = Field(
        description="UNet input channels; more than latent_channels: inpainting"
    )
    vae_scale: int = Field(description="picture pixels per latent pixel, one way")
    vae_scaling_factor: float = Field(description="latents = scaling_factor * VAE posterior")
    prediction_type: Literal["epsilon", "v_prediction", "sample"]
    cross_attention_dim: int
    num_train_timesteps: int
    latent_rgb: list[list[float]] = Field(
        description="3 rows of latent_channels weights and a bias: RGB in 0..1 of a latent pixel"
    )


class Sampler(Strict):
    """A scheduler as tables of weighted sums, one table per step count (see SamplerTables)."""

    name: str = Field(description="key, for example `ddim`")
    title: str
    file: FileRef = Field(description="JSON of SamplerTables")
    default_steps: int
    max_steps: int


Term = tuple[Literal["x", "e", "z"], int, float]


class SamplerStep(Strict):
    """One model call. Terms are `[kind, index, weight]`.

    `x` i is the latent before model call i (x 0 the start latent), `e` i the raw output of model
    call i (after guidance), `z` i fresh standard normal noise drawn after model call i.
    """

    timestep: float
    input: list[Term] = Field(description="what the UNet is given")
    next: list[Term] = Field(description="the latent after this step")
    noise: bool = Field(description="whether z of this step is drawn")


class SamplerTable(Strict):
    """A whole run: start latent = start_scale * noise, then the steps."""

    start_scale: float
    steps: list[SamplerStep]


class SamplerTables(Strict):
    """All step counts of one sampler."""

    name: str
    tables: dict[str, SamplerTable] = Field(description="step count (decimal) -> table")


class WeightPlace(Strict):
    """Where a slot's base weight lies, so that it can be merged without the graph."""

    shard: str
    offset: int = Field(ge=0, description="bytes from the shard's start")
    shape: list[int]
    dtype: Literal["float16", "float32"]
    transposed: bool = Field(description="stored [in, out] instead of PyTorch's [out, in]")


class Slot(Strict):
    """A Linear or Conv module of the UNet where a LoRA can attach: base(x) + (x @ A) @ B."""

    name: str = Field(description="diffusers module path")
    kind: Literal["linear", "conv1x1", "conv3x3"]
    in_width: int
    out_width: int
    input_a: str = Field(description="graph input [in, rank]")
    input_b: str = Field(description="graph input [rank, out]")
    aliases: list[str] = Field(description="module names that LoRA files use for this slot")
    weight: WeightPlace


class SlotTable(Strict):
    """Every slot, in graph order."""

    slot_set: Literal["attn", "transformer", "full"]
    slots: list[Slot]


class Strength(Strict):
    """How a style's slider behaves."""

    default: float = 0.8
    min: float = 0.0
    max: float = 1.5


class Style(Strict):
    """A LoRA that people can choose: an external pack, or a merged UNet variant."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    kind: Literal["external", "merged"]
    trigger_words: list[str] = []
    description: str = ""
    license: str = ""
    rank: int
    strength: Strength = Strength()
    merged_strength: float | None = Field(default=None, description="fixed, for merged styles")
    pack: FileRef | None = None
    variant: str | None = Field(default=None, description="UNetVariant.name of a merged style")
    thumbnail: FileRef | None = None
    source_sha256: Sha256


class Manifest(Strict):
    """The only mutable file of a bundle."""

    schema_version: Literal[1] = 1
    name: str = Field(description="the base model's name")
    base_hash: Sha256 = Field(description="hash of the base's weights; packs name it")
    exporter: str = Field(description="name and version of the program that wrote the bundle")
    model: Model
    shards: dict[str, FileRef]
    unet: list[UNetVariant]
    text_encoder: Part
    vae_decoder: Part
    vae_encoder: Part
    tokenizer: Tokenizer
    samplers: list[Sampler]
    slots: FileRef = Field(description="JSON of SlotTable")
    styles: list[Style] = []

    def variant(self, name: str) -> UNetVariant:
        """The UNet variant called `name`; KeyError when there is none."""
        return {variant.name: variant for variant in self.unet}[name]


def file_refs(value: object) -> Iterator[FileRef]:
    """Every file that a manifest, or a part of one, names; a file named twice comes twice."""
    if isinstance(value, FileRef):
        yield value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from file_refs(getattr(value, field))
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from file_refs(item)


def json_schema() -> dict[str, object]:
    """JSON Schema of the manifest and of the JSON files it points to."""
    from pydantic.json_schema import models_json_schema

    _, schema = models_json_schema(
        [(Manifest, "validation"), (SlotTable, "validation"), (SamplerTables, "validation")],
        title="brushlet bundle",
    )
    return schema


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2, sort_keys=True))

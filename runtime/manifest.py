"""What a bundle's `manifest.json` says: the schema that Python, JSON Schema and TypeScript share.

`python -m runtime.manifest` prints the JSON Schema; `web/` generates its types from it.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
BASE_VARIANT = "base"  # the UNet variant with slots, which external styles use

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RelativeUrl = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
]
Provider = Literal["webgpu", "jsep", "webnn", "wasm", "cpu", "cuda"]
SlottedModel = Literal["unet", "text_encoder"]  # what LoRAs change
Dtype = Literal["fp32", "fp16", "q8", "q4"]  # what the UNet's weights can be stored as


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


class UNetGraph(Graph):
    """A denoiser's graph, in two: `prepare` runs once per picture, `file` at every step.

    `prepare` takes `encoder_hidden_states` and LoRA inputs, and computes what stays the same from
    step to step: folded weights, keys and values of the prompt. Each of its outputs, whose types
    are its own business, is an input of `file` of the same name.

    `file` gives `deep_features` beside `out_sample`: what its inner layers make. `shortcut` takes
    those of an earlier step instead of computing them (DeepCache, arXiv:2312.00858), and else what
    `file` takes.
    """

    prepare: FileRef
    shortcut: FileRef


class Golden(Strict):
    """One UNet step computed by PyTorch in fp32, to hold a device against.

    The file is safetensors: `sample [2, C, h, w]`, `timestep [1]`, `encoder_hidden_states
    [2, T, D]` and `out_sample [2, C, h, w]`, all float32, and `timestep_cond [2, F]` where the
    UNet is told the guidance. On a variant with slots the step is taken with a LoRA drawn from the
    noise rule: for each slot in table order, A `[in, rank]` then B `[rank, out]`, each `randn` from
    one generator seeded with `lora_seed`, times `lora_std`.
    """

    file: FileRef
    lora_seed: int
    lora_rank: int = Field(ge=1)
    lora_std: float = Field(description="standard deviation of every A and B element")
    tolerance_fp32: float = Field(description="largest error allowed, over max abs out_sample")
    tolerance_fp16: float


class Part(Strict):
    """A text encoder, VAE encoder or VAE decoder, with Optimum's input and output names."""

    graph: Graph


class SlottedPart(Part):
    """A part whose graph takes LoRA inputs too, all of them at every run."""

    slots: FileRef = Field(description="JSON of SlotTable")


class TextEncoderPart(SlottedPart):
    """A CLIP text encoder: `input_ids [n, tokens]`, int64 -> `last_hidden_state [n, tokens, D]`."""

    skipped: list[str] = Field(
        default=[],
        description="outputs of the graph without its last layer, its last two, and so on, each"
        " with the final layer norm and shaped like last_hidden_state: item k - 1 is diffusers'"
        " clip_skip k, A1111's clip skip k + 1. A merged style's own graph has the same",
    )


class UNetVariant(Strict):
    """A denoiser: the base with slots, or a merged style without."""

    name: str = Field(description="`base`, or the style's name for a merged one")
    slots: bool = Field(description="whether graphs take LoRA inputs")
    graphs: list[UNetGraph]
    golden: Golden | None = Field(
        default=None,
        description="every base has one; a merged style of a large base is its base's graphs with"
        " other weights, and runs where the base has passed",
    )
    text_encoder: Part | None = Field(
        default=None, description="of a merged style that changes it; else Manifest.text_encoder"
    )


class Tokenizer(Strict):
    """A CLIP tokenizer."""

    tokenizer_json: FileRef = Field(description="Hugging Face tokenizer.json")
    tokenizer_config: FileRef = Field(description="tokenizer_config.json")
    max_length: int = Field(
        ge=3,
        description="tokens that are read at once, start and end included; a longer prompt is read"
        " in chunks",
    )
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
    vae_scaling_factor: float = Field(description="latents = scaling_factor * what the VAE gives")
    prediction_type: Literal["epsilon", "v_prediction", "sample"]
    cross_attention_dim: int
    num_train_timesteps: int
    guidance_frequencies: list[float] = Field(
        default=[],
        description="of a UNet that is told the guidance (LCM): its input timestep_cond is the"
        " sines, then the cosines, of 1000 * (guidance_scale - 1) times each; it takes no negative"
        " prompt",
    )
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


class Restart(Strict):
    """A run over a picture, which begins before a later model call k: image-to-image.

    The latent before that call, `x` k, is image * (the picture's latents) + noise * (standard
    normal noise). The steps from k on are the table's, but for the first few of a multistep
    method, which has no past there.
    """

    image: float
    noise: float
    next: list[list[Term]] = Field(
        default=[], description="SamplerStep.next of the steps k, k + 1, ... that differ"
    )


class SamplerTable(Strict):
    """A whole run: start latent = start_scale * noise, then the steps."""

    start_scale: float
    steps: list[SamplerStep]
    restarts: list[Restart] = Field(
        description="one for each step: a run over a picture may begin with any"
    )

    @model_validator(mode="after")
    def _begins_anywhere(self) -> "SamplerTable":
        if len(self.restarts) != len(self.steps):
            raise ValueError(f"{len(self.restarts)} restarts for {len(self.steps)} steps")
        return self


class SamplerTables(Strict):
    """All step counts of one sampler."""

    name: str
    tables: dict[str, SamplerTable] = Field(description="step count (decimal) -> table")


class Quantised(Strict):
    """How a weight `[in, out]` is stored in a few bits, as com.microsoft's MatMulNBits reads it.

    Unsigned integers q `[out, ceil(in / block), block * bits / 8]` bytes, of four bits the even
    element in the lower half, and fp16 scales `[out, ceil(in / block)]` in a place of their own:
    W = (q - 2 ** (bits - 1)) * scale.
    """

    bits: Literal[4, 8]
    block: Literal[32] = Field(description="weights along `in` that share a scale")
    scales_shard: str
    scales_offset: int = Field(ge=0, description="bytes from that shard's start")


class WeightPlace(Strict):
    """Where a slot's base weight lies, so that it can be merged without the graph."""

    shard: str
    offset: int = Field(ge=0, description="bytes from the shard's start")
    shape: list[int] = Field(
        description="as the graphs read it; a 1x1 kernel may be [out, in]; quantised: [in, out]"
    )
    dtype: Literal["float16", "float32", "uint8"]
    transposed: bool = Field(description="stored [in, out] instead of PyTorch's [out, in]")
    quantised: Quantised | None = None


class Slot(Strict):
    """A Linear or Conv module where a LoRA can attach: base(x) + (x @ A) @ B."""

    name: str = Field(
        description="diffusers module path: inside the UNet; of other models `<model>.<path>`"
    )
    kind: Literal["linear", "conv1x1", "conv3x3"]
    in_width: int = Field(description="rows of A: input channels, times 9 for a 3x3 kernel")
    out_width: int
    input_a: str = Field(description="graph input [in, rank]")
    input_b: str = Field(description="graph input [rank, out]")
    aliases: list[str] = Field(description="module names that LoRA files use for this slot")
    weight: WeightPlace


class SlotTable(Strict):
    """Every slot of a model, in graph order.

    Slot and input names of every model but the UNet begin with `<model>.`, so that one pack can
    hold the LoRA of several models.
    """

    model: SlottedModel = "unet"
    slot_set: Literal["attn", "transformer", "full"]
    slots: list[Slot]


class Measurement(Strict):
    """How far an exported graph was from its reference, on the machine that exported it."""

    what: str
    error: float = Field(description="largest deviation over largest absolute reference value")
    cosine: float
    tolerance: float = Field(description="largest error allowed")


class Strength(Strict):
    """How a style's slider behaves."""

    default: float = Field(default=0.8, allow_inf_nan=False)
    min: float = Field(default=0.0, allow_inf_nan=False)
    max: float = Field(default=1.5, allow_inf_nan=False)


class Template(Strict):
    """A prompt in one click."""

    title: str = Field(min_length=1, description="what it draws, in a word or two")
    titles: dict[str, str] = Field(
        default={}, description="the same in other languages, by their tag, for example `zh`"
    )
    prompt: str = Field(
        min_length=1,
        description="trigger words of the chosen styles go where `{trigger}` stands, else in front",
    )
    negative_prompt: str = ""


class Style(Strict):
    """A LoRA that people can choose: an external pack, or a merged UNet variant."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    kind: Literal["external", "merged"]
    trigger_words: list[str] = []
    description: str = ""
    negative_prompt: str = Field(default="", description="what its makers keep out of pictures")
    license: str = ""
    rank: int
    models: list[SlottedModel] = Field(
        default=["unet"], description="which it changes; with text_encoder, prompts depend on it"
    )
    strength: Strength = Strength()
    merged_strength: float | None = Field(
        default=None, allow_inf_nan=False, description="fixed, for merged styles"
    )
    pack: FileRef | None = None
    variant: str | None = Field(default=None, description="UNetVariant.name of a merged style")
    thumbnail: FileRef | None = None
    examples: list[FileRef] = Field(
        default=[], max_length=3, description="pictures drawn with it, at most three"
    )
    templates: list[Template] = Field(default=[], description="what it draws well")
    source_sha256: Sha256
    parity: list[Measurement] = Field(default=[], description="what its export measured")


class Hints(Strict):
    """What the base's makers advise: `brushlet.json` beside the base's `model_index.json`."""

    guidance_scale: float = Field(default=7.5, description="where classifier-free guidance starts")
    prompts: list[str] = Field(default=[], description="what the base draws well, the best first")
    templates: list[Template] = Field(
        default=[], description="prompts in one click, for whatever style is chosen"
    )
    sampler: str | None = Field(
        default=None, description="Sampler.name to start with; default: the bundle's first"
    )
    steps: int | None = Field(
        default=None, ge=1, description="step count to start with; default: the sampler's"
    )


class Storage(Strict):
    """How the UNet's weights are stored; those of the text encoder and the VAE are always fp16.

    `q8` and `q4`: its matrix products in blocks of 8 or 4 bits (see Quantised), the rest in fp16.
    """

    dtype: Dtype = "fp16"
    error: float | None = Field(
        default=None,
        description="what 8 or 4 bits cost: how far the golden step is from the one with fp16"
        " weights, over its largest value, both computed by PyTorch",
    )
    cosine: float | None = Field(default=None, description="between the two")


class Manifest(Strict):
    """The only file of a bundle that is read and changes."""

    schema_version: Literal[1] = 1
    name: str = Field(description="the base model's name")
    base_hash: Sha256 = Field(description="hash of the base's files; packs name it")
    exporter: str = Field(description="name and version of the program that wrote the bundle")
    model: Model
    hints: Hints
    storage: Storage = Storage()
    shards: dict[str, FileRef]
    unet: list[UNetVariant]
    text_encoder: TextEncoderPart
    vae_decoder: Part
    vae_encoder: Part
    tokenizer: Tokenizer
    samplers: list[Sampler]
    slots: FileRef = Field(description="JSON of SlotTable, the UNet's")
    lora: FileRef = Field(
        description="JSON of LoraGrammar: how LoRA files are read that people bring"
    )
    styles: list[Style] = []
    parity: list[Measurement] = Field(default=[], description="what the base's export measured")

    @model_validator(mode="after")
    def _is_whole(self) -> "Manifest":
        """What is referred to is there; a hand-edited or half-copied manifest says what is not."""
        graphs: list[Graph] = [graph for variant in self.unet for graph in variant.graphs]
        parts = [self.text_encoder, self.vae_decoder, self.vae_encoder]
        parts += [variant.text_encoder for variant in self.unet if variant.text_encoder]
        graphs += [part.graph for part in parts]
        shards = {shard for graph in graphs for shard in graph.shards}
        variants = {variant.name for variant in self.unet}
        wanted = {style.variant for style in self.styles if style.kind == "merged"}
        if missing := sorted(shards - self.shards.keys()):
            raise ValueError(f"graphs read shards that are not listed: {', '.join(missing)}")
        if missing := sorted(str(name) for name in (wanted | {BASE_VARIANT}) - variants):
            raise ValueError(f"there is no UNet variant called {', '.join(missing)}")
        if self.variant(BASE_VARIANT).golden is None:
            raise ValueError("the base has no golden vector")
        if missing := [style.name for style in self.styles if not (style.pack or style.variant)]:
            raise ValueError(f"styles with neither pack nor variant: {', '.join(missing)}")
        return self

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

    from runtime.lora_grammar import LoraGrammar  # which is made of records like these

    files = (Manifest, SlotTable, SamplerTables, LoraGrammar)
    _, schema = models_json_schema(
        [(file, "validation") for file in files], title="brushlet bundle"
    )
    return schema


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2, sort_keys=True))

"""Key styles and kinds of LoRA files for the text encoder, as other people's savers write them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextModel

from exporter.export import export
from exporter.merge import Merge
from exporter.parity import Runner
from exporter.progress import silent
from exporter.shards import Shards
from exporter.staging import staging
from exporter.text_encoder import merge_text_encoder
from runtime.bundle import Bundle
from runtime.lora import match_adapters, read_lora
from runtime.packs import make_pack, stack
from runtime.text import TextEncoder
from tests.lycoris import lycoris_biases, lycoris_merged, lycoris_network
from tests.parity.promises import Measured
from tests.parity.reference import relative_error
from tests.tiny import tiny_pipeline

STRENGTHS = (-0.5, 0.0, 0.7, 1.3)
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
LAYERS = [*ATTENTION, "fc1", "fc2"]
RANK, ALPHA = 4, 2
PROMPTS = ["", "a castle, clouds", "castles " * 25]

State = dict[str, torch.Tensor]


def _kohya(state: State, prefix: str = "lora_te") -> State:
    """sd-scripts' keys, each module with its alpha."""
    renamed = {}
    for key, value in state.items():
        path, _, matrix = key.removesuffix(".weight").rpartition(".lora_")
        module = f"{prefix}_{path.replace('.', '_')}"
        renamed[f"{module}.lora_{'down' if matrix == 'A' else 'up'}.weight"] = value
        renamed[f"{module}.alpha"] = torch.tensor(float(ALPHA))
    return renamed


def _kohya_numbered(state: State) -> State:
    """The same, numbered as SDXL's first text encoder."""
    return _kohya(state, "lora_te1")


def _scaled(state: State) -> State:
    """Files of diffusers before PEFT have no alpha."""
    return {
        f"text_encoder.{key}": value * (ALPHA / RANK if "lora_B" in key else 1)
        for key, value in state.items()
    }


def _diffusers(state: State) -> State:
    """`...q_proj.lora_linear_layer.down.weight`, of diffusers 0.17 to 0.21."""
    return convert_state_dict_to_diffusers(_scaled(state))


def _diffusers_016(state: State) -> State:
    """`...self_attn.to_q_lora.down.weight`, which knew the attention only."""
    renamed = {}
    for key, value in _scaled(state).items():
        key = re.sub(r"\.(q|k|v|out)_proj\.lora_A\.", r".to_\1_lora.down.", key)
        renamed[re.sub(r"\.(q|k|v|out)_proj\.lora_B\.", r".to_\1_lora.up.", key)] = value
    return renamed


# What diffusers reads too; `peft` is what its own `save_lora_weights` writes.
KINDS: dict[str, tuple[Callable[[State], State] | None, list[str]]] = {
    "peft": (None, LAYERS),
    "kohya": (_kohya, LAYERS),
    "kohya, numbered": (_kohya_numbered, LAYERS),
    "diffusers": (_diffusers, LAYERS),
    "diffusers 0.16": (_diffusers_016, ATTENTION),
}
# Options of the `lycoris-lora` package; the first two have an exact low-rank form.
LYCORIS: dict[str, dict[str, Any]] = {
    "loha": {"network_module": "loha"},
    "lokr": {"network_module": "lokr", "factor": 2, "prefix": "lycoris"},
    "lokr-full": {"network_module": "lokr", "full_matrix": True},
    "dora": {"network_module": "locon", "weight_decompose": True},
    "ia3": {"network_module": "ia3"},
    "full": {"network_module": "full"},
}
LOW_RANK = [*KINDS, "loha", "lokr"]


@dataclass(frozen=True)
class TextKinds:
    """The tiny pipeline, its bundle, and one LoRA of each kind, in `folder`."""

    folder: Path

    @cached_property
    def base(self) -> Path:
        return tiny_pipeline(self.folder / "tiny")

    @cached_property
    def bundle(self) -> Bundle:
        export(self.base, self.folder / "dist", silent)
        return Bundle.open(self.folder / "dist")

    @property
    def text_encoder(self) -> CLIPTextModel:
        """The base's, in fp32."""
        return CLIPTextModel.from_pretrained(self.base / "text_encoder", dtype=torch.float32)

    @cached_property
    def files(self) -> dict[str, Path]:
        """Kind -> file that diffusers reads, each with random weights of its own."""
        files = {}
        for seed, (kind, (convert, targets)) in enumerate(KINDS.items()):
            torch.manual_seed(seed)
            model = self.text_encoder
            model.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets))
            state: State = {
                key: (torch.randn_like(value) * 0.2).half().float()  # as packs store them
                for key, value in get_peft_model_state_dict(model).items()
            }
            files[kind] = self.folder / f"{kind}.safetensors"
            if convert:
                tensors = {key: value.contiguous() for key, value in convert(state).items()}
                save_file(tensors, files[kind])
            else:
                StableDiffusionPipeline.save_lora_weights(
                    self.folder,
                    text_encoder_lora_layers=state,
                    weight_name=files[kind].name,
                    **_collate_lora_metadata({"text_encoder": model}),
                )
        return files

    @cached_property
    def lycoris(self) -> dict[str, tuple[Path, dict[float, State]]]:
        """Kind -> LyCORIS' file, weights and biases that it merges at each strength and at 1."""
        found = {}
        for seed, (kind, options) in enumerate(LYCORIS.items()):
            torch.manual_seed(100 + seed)
            model = self.text_encoder
            options = {"prefix": "lora_te"} | options
            layers = [rf".*layers.*{name}" for name in LAYERS]
            network = lycoris_network(model, layers, rank=RANK, alpha=RANK, **options)
            path = self.folder / f"{kind}.safetensors"
            network.save_weights(path, None, {})
            names = {
                f"{options['prefix']}_{name.replace('.', '_')}": name
                for name, _ in self.text_encoder.named_modules()
            }
            merges = {
                strength: {
                    f"{names[module]}.{name}": torch.from_numpy(array)
                    for name, merged in (("weight", lycoris_merged), ("bias", lycoris_biases))
                    for module, array in merged(network, strength).items()
                }
                for strength in (*STRENGTHS, 1.0)
            }
            found[kind] = path, merges
        return found

    def adapted(self, kind: str, strength: float, merged: bool) -> CLIPTextModel:
        """What other people's code makes of a file; merged weights are rounded to fp16."""
        if kind in KINDS:
            pipeline = StableDiffusionPipeline.from_pretrained(
                self.base, torch_dtype=torch.float32, safety_checker=None
            )
            path = self.files[kind]
            pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="a")
            pipeline.set_adapters(["a"], [strength])
            model = pipeline.text_encoder
            if merged:
                pipeline.set_adapters(["a"], [1.0])
                pipeline.fuse_lora(components=["text_encoder"], lora_scale=strength)
                pipeline.unload_lora_weights()
        else:
            model = self.text_encoder
            merges = self.lycoris[kind][1]
            if kind == "dora":  # its strength is another one there (runtime.adapters.DoraModule)
                for name, weight in model.state_dict().items():
                    if name in merges[1.0]:
                        weight += strength * (merges[1.0][name] - weight)
            else:
                model.load_state_dict(merges[strength], strict=False)
        return model.half().float() if merged else model

    def applied(self, kind: str, strength: float) -> CLIPTextModel:
        """What our formulas make of a file's weights, before they are rounded."""
        model = self.text_encoder
        adapters = match_adapters(read_lora(self.path(kind)), self.bundle.text_slot_table())
        for name, adapter in adapters.items():
            module = model.get_submodule(name.removeprefix("text_encoder."))
            weight = adapter.apply(module.weight.detach().numpy(), strength)
            module.weight.data = torch.from_numpy(weight)
        return model

    def path(self, kind: str) -> Path:
        """The file of any kind."""
        return self.files[kind] if kind in KINDS else self.lycoris[kind][0]


def text_kinds(folder: Path) -> Iterator[Measured]:
    """Prompts encoded with each kind of file, external and merged, against PEFT or LyCORIS."""
    folder.mkdir(parents=True, exist_ok=True)
    world = TextKinds(folder)
    bundle = world.bundle
    encoder = TextEncoder(bundle)
    table = bundle.text_slot_table()
    ids = np.array([encoder.rows(prompt)[0].ids for prompt in PROMPTS])

    def states(model: CLIPTextModel) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(ids))[0].numpy()

    manifest = bundle.manifest
    base = {"base_hash": manifest.base_hash, "base_name": manifest.name}
    for kind in LOW_RANK:
        pack = make_pack(
            read_lora(world.path(kind)), *bundle.slot_tables(), name="a", title="", **base
        )
        for strength in STRENGTHS:
            found = encoder.encode(PROMPTS, stack([(pack, strength)], table))
            error = relative_error(found, states(world.adapted(kind, strength, merged=False)))
            yield Measured("lora", "onnxruntime", f"text encoder, {kind} {strength}", error)
    # LyCORIS' norms differ from ours in the last bit, so some of DoRA's weights round to the other
    # neighbour in fp16: one such makes up to 2e-5.
    for strength in STRENGTHS:
        expected = states(world.adapted("dora", strength, merged=False))
        error = relative_error(states(world.applied("dora", strength)), expected)
        yield Measured("lora", "PyTorch", f"text encoder, dora unrounded, {strength}", error)
    for kind in (kind for kind in (*KINDS, *LYCORIS) if kind != "dora"):
        adapters = match_adapters(read_lora(world.path(kind)), *bundle.slot_tables())
        for strength in STRENGTHS:
            with staging(bundle.folder) as stage:
                for ref in bundle.files():
                    stage.keep(ref)
                staged = Bundle(stage.folder, manifest)
                table = staged.text_slot_table()
                merge = Merge(stage.folder, world.base, table, adapters, strength)
                part, _ = merge_text_encoder(staged, world.base, merge, "a", Shards(stage), stage)
                found = Runner(stage.folder / part.graph.file.url)({"input_ids": ids})
            error = relative_error(found, states(world.adapted(kind, strength, merged=True)))
            what = f"text encoder, {kind} merged at {strength}"
            yield Measured("lora", "onnxruntime", what, error)

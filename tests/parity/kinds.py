"""Key styles and kinds of LoRA files, as other people's savers write them, on the tiny model."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from exporter.export import StyleRequest, export
from exporter.progress import silent
from runtime.bundle import Bundle
from runtime.packs import stack
from runtime.unet import UNet
from tests.browser import Job, run_jobs
from tests.lycoris import lycoris_biases, lycoris_merged, lycoris_network
from tests.parity.promises import Measured
from tests.parity.reference import Reference, merged_unet, relative_error
from tests.tiny import WIDTH, tiny_pipeline

STRENGTHS = (-0.5, 0.0, 0.7, 1.3)
MERGED_STRENGTH = 0.7
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TRANSFORMER = [*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
TIMESTEP = 501.0

State = dict[str, torch.Tensor]


def _kohya(state: State) -> State:
    """Keys `lora_unet_...`, each module with its alpha."""
    return convert_state_dict_to_kohya({f"unet.{key}": value for key, value in state.items()})


def _kohya_without_alpha(state: State) -> State:
    """Then the scale is 1, as if alpha were the rank."""
    return {key: value for key, value in _kohya(state).items() if not key.endswith(".alpha")}


def _peft(state: State) -> State:
    """PEFT's own names, as diffusers' `save_lora_weights` writes them."""
    return {f"unet.{key}": value for key, value in state.items()}


def _diffusers(state: State) -> State:
    """`unet. ... .lora.down.weight`, which diffusers' scripts trained on attention before PEFT."""
    return convert_state_dict_to_diffusers(_peft(state))


def _processors(state: State) -> State:
    """The attention processors of diffusers < 0.21, which knew no other layers."""
    renamed = {}
    for key, value in state.items():
        path, _, matrix = key.removesuffix(".weight").rpartition(".lora_")
        attention, _, projection = path.removesuffix(".0").rpartition(".")
        if projection in ("to_q", "to_k", "to_v", "to_out"):
            way = {"A": "down", "B": "up"}[matrix]
            renamed[f"unet.{attention}.processor.{projection}_lora.{way}.weight"] = value
    return renamed


KINDS: dict[str, tuple[Callable[[State], State], list[str]]] = {
    "kohya": (_kohya, TRANSFORMER),
    "kohya-without-alpha": (_kohya_without_alpha, TRANSFORMER),
    "peft": (_peft, TRANSFORMER),
    "diffusers": (_diffusers, ATTENTION),
    "processors": (_processors, ATTENTION),
}
# Options of the `lycoris-lora` package, on the same layers. LoKr of factor 2 has an exact low-rank
# form of rank 2 * 4 everywhere; LoHa has one of rank 4 ** 2.
LYCORIS_EXTERNAL: dict[str, dict[str, Any]] = {
    "loha": {"network_module": "loha"},
    "lokr": {"network_module": "lokr", "factor": 2},
}
LYCORIS: dict[str, dict[str, Any]] = LYCORIS_EXTERNAL | {
    "lokr-full": {"network_module": "lokr", "full_matrix": True},
    "dora": {"network_module": "locon", "weight_decompose": True},
    "ia3": {"network_module": "ia3"},
    "full": {"network_module": "full"},
}
LAYERS = [rf".*attentions.*{re.escape(name)}" for name in TRANSFORMER]


@dataclass(frozen=True)
class Lycoris:
    """A file, and the weights that LyCORIS merges from it at 1 and at `MERGED_STRENGTH`."""

    path: Path
    whole: State
    part: State


@dataclass(frozen=True)
class Kinds:
    """The tiny pipeline, one LoRA of each kind, and the bundle of them all, in `folder`."""

    folder: Path

    @cached_property
    def base(self) -> Path:
        return tiny_pipeline(self.folder / "tiny")

    @cached_property
    def files(self) -> dict[str, Path]:
        """Kind -> file, each with random weights of its own."""
        self.readable.mkdir(parents=True, exist_ok=True)
        files = {}
        for seed, (kind, (convert, targets)) in enumerate(KINDS.items()):
            torch.manual_seed(seed)
            unet = UNet2DConditionModel.from_pretrained(self.base / "unet")
            unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=targets))
            state: State = {
                key: (torch.randn_like(value) * 0.1).half()  # as packs store them
                for key, value in get_peft_model_state_dict(unet).items()
            }
            files[kind] = self.folder / f"{kind}.safetensors"
            _save(convert(state), files[kind])
            # diffusers 0.39 reads no attention processors: it gets the tensors by PEFT's names
            theirs = _peft if convert is _processors else convert
            _save(theirs(state), self.readable / f"{kind}.safetensors")
        return files

    @cached_property
    def lycoris(self) -> dict[str, Lycoris]:
        """Kind -> LyCORIS' file and merges, each with random weights of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found = {}
        for seed, (kind, options) in enumerate(LYCORIS.items()):
            torch.manual_seed(100 + seed)
            unet = self.unet
            names = {
                f"lora_unet_{path.replace('.', '_')}": path for path, _ in unet.named_modules()
            }
            network = lycoris_network(unet, LAYERS, rank=4, alpha=4, **options)
            path = self.folder / f"{kind}.safetensors"
            network.save_weights(path, None, {})
            whole, part = (
                {
                    f"{names[module]}.{name}": torch.from_numpy(array)
                    for name, merged in (("weight", lycoris_merged), ("bias", lycoris_biases))
                    for module, array in merged(network, strength).items()
                }
                for strength in (1.0, MERGED_STRENGTH)
            )
            found[kind] = Lycoris(path, whole, part)
        return found

    @property
    def unet(self) -> UNet2DConditionModel:
        """The base's denoiser, in fp32."""
        return UNet2DConditionModel.from_pretrained(self.base / "unet", torch_dtype=torch.float32)

    def lycoris_stack(self, strengths: Mapping[str, float]) -> UNet2DConditionModel:
        """The UNet with what LyCORIS' merge changes, times strengths."""
        unet, base = self.unet, self.unet.state_dict()  # two, one to change
        for kind, strength in strengths.items():
            for name, weight in self.lycoris[kind].whole.items():
                unet.state_dict()[name] += strength * (weight - base[name])
        return unet

    def lycoris_merged(self, kind: str) -> UNet2DConditionModel:
        """As LyCORIS merges, rounded to fp16; the strength of DoRA is another one there.

        Of DoRA's 153,600 weights 10 round to the other neighbour, which makes its 6e-6.
        """
        if kind == "dora":
            return self.lycoris_stack({kind: MERGED_STRENGTH}).half().float()
        unet = self.unet
        unet.load_state_dict(self.lycoris[kind].part, strict=False)
        return unet.half().float()

    @property
    def readable(self) -> Path:
        """Where the files lie as diffusers reads them."""
        return self.folder / "readable"

    @cached_property
    def bundle(self) -> Path:
        """Every kind as an external style, and merged."""
        out = self.folder / "dist"
        lycoris = {kind: theirs.path for kind, theirs in self.lycoris.items()}
        for kind, path in (self.files | lycoris).items():
            if kind in KINDS or kind in LYCORIS_EXTERNAL:
                export(self.base, out, silent, StyleRequest(path, "external"))
            merged = StyleRequest(path, "merged", strength=MERGED_STRENGTH)
            export(self.base, out, silent, merged)
        return out


def _save(state: State, path: Path) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, path)


def _styles() -> Iterator[tuple[str, str, dict[str, float]]]:
    """(kind, variant, strengths): each kind alone at every strength, merged, and stacked."""
    for group in (list(KINDS), list(LYCORIS_EXTERNAL)):
        for kind, other in zip(group, [*group[1:], *group[:1]], strict=True):
            for strength in STRENGTHS:
                yield kind, "base", {kind: strength}
            yield kind, "base", {kind: 0.7, other: -0.4}
    for kind in (*KINDS, *LYCORIS):
        yield kind, f"{kind}-merged", {}


@torch.no_grad()
def _step(unet: UNet2DConditionModel, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    return unet(*map(torch.from_numpy, feeds.values())).sample.numpy()


def kinds(folder: Path) -> Iterator[Measured]:
    """A step with each kind of file, on onnxruntime and in Chromium, against PEFT or LyCORIS.

    Merged ones are compared with their fusion, rounded to fp16 as the bundle stores it.
    """
    world = Kinds(folder)
    bundle = Bundle.open(world.bundle)
    readable = {kind: world.readable / path.name for kind, path in world.files.items()}
    reference = Reference(world.base, readable)
    generator = torch.Generator().manual_seed(11)
    feeds = {
        "sample": torch.randn((2, 4, 8, 8), generator=generator).numpy(),
        "timestep": np.array([TIMESTEP], np.float32),
        "encoder_hidden_states": torch.randn((2, 77, WIDTH), generator=generator).numpy(),
    }
    unets = {entry.name: UNet(bundle, entry) for entry in bundle.manifest.unet}
    jobs: list[Job] = []
    judge: dict[str, tuple[str, str, np.ndarray]] = {}
    for kind, variant, strengths in _styles():
        if variant == "base":
            expected = (
                _step(world.lycoris_stack(strengths), feeds)
                if kind in LYCORIS
                else reference.step(
                    feeds["sample"], TIMESTEP, feeds["encoder_hidden_states"], strengths
                )
            )
            packs = [(bundle.style_pack(name), strength) for name, strength in strengths.items()]
            lora = stack(packs, bundle.slot_table())
            what = ", ".join(f"{name} {strength}" for name, strength in strengths.items())
        else:
            unet = (
                world.lycoris_merged(kind)
                if kind in LYCORIS
                else merged_unet(world.base, readable[kind], MERGED_STRENGTH)
            )
            expected = _step(unet, feeds)
            lora, what = {}, f"{kind} merged"
        unet = unets[variant]
        found = unet.step({**feeds, **lora})
        yield Measured("lora", "onnxruntime", what, relative_error(found, expected))
        for threads in (1, 2):
            job = {
                "kind": "step",
                "id": f"{len(jobs)}",
                "variant": variant,
                "provider": "wasm",
                "threads": threads,
                "compute": unet.graph.compute,
                "attention": unet.graph.attention,
                "inputs": "feeds.safetensors",
                "styles": [{"name": n, "strength": s} for n, s in strengths.items()],
            }
            jobs.append(job)
            runtime = f"WASM, {threads} thread{'s'[: threads - 1]}"
            judge[job["id"]] = (runtime, what, expected)
    jobs.sort(key=lambda job: (job["variant"], job["threads"]))  # in a row they share a session
    for key, (_, outputs) in run_jobs(world.bundle, jobs, {"feeds.safetensors": feeds}).items():
        runtime, what, expected = judge[key]
        error = relative_error(outputs["out_sample"], expected)
        yield Measured("lora", runtime, what, error)

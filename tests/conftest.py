import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
# Tests run side by side, a process for each core. Threads of their own would wait for one another
# by spinning, in these and in the processes that they start, and take the time of the other tests.
os.environ["OMP_NUM_THREADS"] = "1"

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from diffusers import UNet2DConditionModel

from exporter.export import StyleRequest, export
from exporter.locks import locked
from exporter.progress import silent
from runtime.manifest import Dtype
from runtime.tensors import write_tensors
from tests.tiny import random_lora, tiny_pipeline

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "net.0.proj", "net.2")
MERGED_STRENGTH = 0.8


# Noise of the libraries about each other; everything else is an error (pyproject.toml).
THIRD_PARTY_WARNINGS = (
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:diffusers",
    "ignore:Already found a `peft_config` attribute:UserWarning:peft",
)


def pytest_configure(config: pytest.Config) -> None:
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


class OneThread(onnxruntime.SessionOptions):
    """Options of onnxruntime's sessions, whose threads spin too."""

    def __init__(self) -> None:
        super().__init__()
        self.intra_op_num_threads = 1


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """In sessions too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "SessionOptions", OneThread)
        yield


Shared = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """Gives a folder that the first test process to ask for it fills, while the others wait.

    What fills it must not depend on the process. Nobody changes what is in it.
    """
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":  # a folder in that of all processes (pytest-xdist)
        root = root.parent
    whole, unfinished = root / "shared", root / "unfinished"
    whole.mkdir(exist_ok=True)
    unfinished.mkdir(exist_ok=True)

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        with locked(root / f"{name}.lock", wait=True):
            if not (whole / name).exists():
                shutil.rmtree(unfinished / name, ignore_errors=True)
                fill(unfinished / name)
                (unfinished / name).rename(whole / name)
        return whole / name

    return folder


@pytest.fixture(scope="session")
def tiny_base(shared: Shared) -> Path:
    """The tiny pipeline in the diffusers layout."""
    return shared("tiny", tiny_pipeline)


@pytest.fixture
def tiny_unet(tiny_base: Path) -> UNet2DConditionModel:
    """Its UNet, fresh for every test, in float32."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet", torch_dtype=torch.float32)
    return unet.requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_loras(tiny_base: Path, shared: Shared) -> dict[str, Path]:
    """Two random LoRAs in kohya's form: `wiggle` on all layers, `wobble` on the attention only."""
    ranks = {"wiggle": 4, "wobble": 2}

    def write(folder: Path) -> None:
        folder.mkdir()
        unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet")
        for seed, (name, rank) in enumerate(ranks.items()):
            random = np.random.default_rng(seed)
            tensors = {}
            for path, module in unet.named_modules():
                if ".attentions." not in path or not path.endswith(LORA_TARGETS):
                    continue
                if name == "wobble" and ".attn" not in path:
                    continue
                out, into, *kernel = module.weight.shape
                key = f"lora_unet_{path.replace('.', '_')}"
                down = random.normal(0, into**-0.5, (rank, into, *kernel))
                up = random.normal(0, 0.3, (out, rank, *kernel))
                tensors[f"{key}.lora_down.weight"] = down.astype(np.float16)
                tensors[f"{key}.lora_up.weight"] = up.astype(np.float16)
                tensors[f"{key}.alpha"] = np.array(rank / 2, np.float16)
            write_tensors(folder / f"{name}.safetensors", tensors, {"ss_output_name": name})

    folder = shared("loras", write)
    return {name: folder / f"{name}.safetensors" for name in ranks}


@pytest.fixture(scope="session")
def text_loras(tiny_base: Path, shared: Shared) -> dict[str, Path]:
    """Two in kohya's form: `accent` on UNet and text encoder, `speech` on the latter alone."""
    prefixes = {"accent": ["lora_unet", "lora_te"], "speech": ["lora_te"]}

    def write(folder: Path) -> None:
        folder.mkdir()
        for seed, (name, own) in enumerate(prefixes.items()):
            random_lora(tiny_base, folder / f"{name}.safetensors", own, 100 + seed)

    folder = shared("text_loras", write)
    return {name: folder / f"{name}.safetensors" for name in prefixes}


@pytest.fixture(scope="session")
def text_bundle(
    tiny_bundle: Path, tiny_base: Path, text_loras: dict[str, Path], shared: Shared
) -> Path:
    """The tiny bundle with `accent`, `speech`, and both merged. Do not change it."""

    def write(out: Path) -> None:
        shutil.copytree(tiny_bundle, out, copy_function=os.link)
        for path in text_loras.values():
            export(tiny_base, out, silent, StyleRequest(path, "external"))
            export(tiny_base, out, silent, StyleRequest(path, "merged", strength=MERGED_STRENGTH))

    return shared("text_bundle", write)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_base: Path, tiny_loras: dict[str, Path], shared: Shared) -> Path:
    """The tiny pipeline exported, with `wiggle`, `wobble`, `wiggle-merged`. Do not change it."""

    def write(out: Path) -> None:
        for style in (
            StyleRequest(tiny_loras["wiggle"], "external"),
            StyleRequest(tiny_loras["wobble"], "external"),
            StyleRequest(tiny_loras["wiggle"], "merged", strength=MERGED_STRENGTH),
        ):
            export(tiny_base, out, silent, style)

    return shared("bundle", write)


@pytest.fixture(scope="session")
def stored_bundle(
    tiny_base: Path, tiny_loras: dict[str, Path], shared: Shared
) -> Callable[[Dtype], Path]:
    """The tiny bundle by how weights are stored, with `wiggle`, `wiggle-merged`. Change none."""

    def bundle(dtype: Dtype) -> Path:
        def write(out: Path) -> None:
            external = StyleRequest(tiny_loras["wiggle"], "external")
            export(tiny_base, out, silent, external, dtype=dtype)
            merged = StyleRequest(tiny_loras["wiggle"], "merged", strength=MERGED_STRENGTH)
            export(tiny_base, out, silent, merged)

        return shared(f"bundle-{dtype}", write)

    return bundle


@pytest.fixture(scope="session")
def inpainting_base(shared: Shared) -> Path:
    """A tiny pipeline whose UNet takes nine channels."""
    return shared("inpainting", lambda folder: tiny_pipeline(folder, in_channels=9))


@pytest.fixture(scope="session")
def inpainting_bundle(inpainting_base: Path, shared: Shared) -> Path:
    """Its bundle."""
    return shared("inpainting_bundle", lambda out: export(inpainting_base, out, silent))


@pytest.fixture(scope="session")
def lcm_base(shared: Shared) -> Path:
    """A tiny pipeline whose UNet is told the guidance, with a TAESD."""
    return shared("lcm", lambda folder: tiny_pipeline(folder, guidance_width=16, taesd=True))


@pytest.fixture(scope="session")
def lcm_bundle(lcm_base: Path, tiny_loras: dict[str, Path], shared: Shared) -> Path:
    """Its bundle, with `wiggle` and `wiggle-merged`."""

    def write(out: Path) -> None:
        export(lcm_base, out, silent, StyleRequest(tiny_loras["wiggle"], "external"))
        export(lcm_base, out, silent, StyleRequest(tiny_loras["wiggle"], "merged"))

    return shared("lcm_bundle", write)

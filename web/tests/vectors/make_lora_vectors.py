"""Writes lora.json: LoRA files as their savers write them, with the packs that runtime makes.

Also the files that tests/attacks/test_lora.py has refused, with runtime's words.

.venv/bin/python web/tests/vectors/make_lora_vectors.py
"""

import base64
import gzip
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from exporter.details import read_details  # noqa: E402
from exporter.shards import Place  # noqa: E402
from exporter.slots import SlotShape, aliases, make_slots, text_aliases  # noqa: E402
from runtime.errors import BrushletError  # noqa: E402
from runtime.lora import read_lora  # noqa: E402
from runtime.lora_grammar import lora_grammar  # noqa: E402
from runtime.manifest import SlotTable  # noqa: E402
from runtime.packs import dump_pack, make_pack  # noqa: E402
from runtime.shares import change_norm  # noqa: E402
from tests.attacks import test_lora as attacks  # noqa: E402
from tests.lycoris import lycoris_network  # noqa: E402

BASE = {"base_hash": "a" * 64, "base_name": "toy"}
ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
UNET = {
    f"{ATTENTION}.to_q": nn.Linear(12, 16),
    f"{ATTENTION}.to_out.0": nn.Linear(16, 12),
    "down_blocks.0.attentions.0.proj_in": nn.Conv2d(12, 12, 1),
    "down_blocks.0.resnets.0.conv1": nn.Conv2d(8, 12, 3),
    "conv_out": nn.Conv2d(8, 2, 3),
}
TEXT = {"text_model.encoder.layers.0.self_attn.q_proj": nn.Linear(10, 10)}
LAYERS = [path.replace(".", r"\.") for path in UNET]

State = dict[str, torch.Tensor]


def model(modules: dict[str, nn.Module]) -> nn.Module:
    """Modules at their paths, with weights of their own."""
    torch.manual_seed(7)
    root = nn.Module()
    for path, module in modules.items():
        *parents, name = path.split(".")
        place = root
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Module())
            place = getattr(place, parent)
        place.add_module(name, type(module)(*sizes(module)))
    return root


def sizes(module: nn.Module) -> tuple[int, ...]:
    """What a module of these widths is made with."""
    outs, ins, *kernel = module.weight.shape
    return (ins, outs, *kernel[:1])


def table(name: str, modules: dict[str, nn.Module]) -> SlotTable:
    """The slots of a toy."""
    prefix = "" if name == "unet" else f"{name}."
    shapes = {}
    for path, module in modules.items():
        outs, ins, *kernel = module.weight.shape
        kind = {(): "linear", (1, 1): "conv1x1", (3, 3): "conv3x3"}[tuple(kernel)]
        shapes[prefix + path] = SlotShape(kind, ins * int(np.prod(kernel)), outs, False)
    place = Place("0", 0, [1], np.dtype(np.float16))
    places = {f"{path}.weight": place for path in shapes}
    config = {"layers_per_block": 1, "up_block_types": []}
    names = text_aliases if prefix else lambda path: aliases(path, config)
    return SlotTable.model_validate(
        {"model": name, "slot_set": "full", "slots": make_slots(shapes, places, names)}
    )


TABLES = (table("unet", UNET), table("text_encoder", TEXT))


def randomised(network: nn.Module) -> None:
    """Adapters with other than their first weights."""
    for name, parameter in network.named_parameters():
        if any(part in name for part in ("lora_", "hada_", "lokr_")):
            parameter.data = torch.randn_like(parameter) * 0.3


def lycoris(folder: Path, **options: Any) -> Path:
    """A file of the `lycoris-lora` package, in fp16, with trigger words."""
    torch.manual_seed(3)
    network = lycoris_network(model(UNET), LAYERS, rank=2, alpha=1.5, **options)
    path = folder / "Ink & Wash.safetensors"
    network.save_weights(path, torch.float16, {"modelspec.trigger_phrase": "ink wash, brush"})
    return path


def peft(folder: Path, config: Any, **options: Any) -> Path:
    """PEFT's folder, with its config."""
    torch.manual_seed(4)
    patterns = {"alpha_pattern": {"to_q": 6}, "rank_pattern": {"to_out.0": 3}}
    network = get_peft_model(
        model(UNET), config(r=2, target_modules=list(UNET), **options, **patterns)
    )
    randomised(network)
    network.save_pretrained(folder)
    return folder / "adapter_model.safetensors"


def adapted(modules: dict[str, nn.Module], **options: Any) -> State:
    """The PEFT state of a plain LoRA, by PEFT's names."""
    torch.manual_seed(5)
    network = get_peft_model(
        model(modules), LoraConfig(r=3, lora_alpha=2, target_modules=list(modules), **options)
    )
    randomised(network)
    state = get_peft_model_state_dict(network)
    return {key.removeprefix("base_model.model."): value for key, value in state.items()}


def diffusers_saver(folder: Path) -> Path:
    """UNet and text encoder, each with its own alphas in the metadata."""
    metadata = {"r": 3, "lora_alpha": 2, "use_rslora": True, "alpha_pattern": {"to_q": 5}}
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers=adapted(UNET),
        text_encoder_lora_layers=adapted(TEXT),
        unet_lora_adapter_metadata=metadata,
        text_encoder_lora_adapter_metadata={"r": 3, "lora_alpha": 4},
    )
    return folder / "pytorch_lora_weights.safetensors"


def kohya(folder: Path) -> Path:
    """Several dtypes, of alphas too, original block names, a title in the metadata."""
    tensors: State = {}
    dtypes = iter([torch.float64, torch.bfloat16, torch.float32, torch.float16, torch.float32])
    alphas = iter([torch.tensor(2), torch.tensor(1.7), torch.tensor(0.1, dtype=torch.float64)])
    for path in UNET:
        state = {k: v for k, v in adapted(UNET).items() if k.startswith(f"{path}.lora_")}
        dtype = next(dtypes)
        name = f"lora_unet_{path.replace('.', '_')}"
        if path == "down_blocks.0.attentions.0.proj_in":
            name = "lora_unet_input_blocks_1_1_proj_in"
        for part, matrix in (("down", "A"), ("up", "B")):
            tensors[f"{name}.lora_{part}.weight"] = state[f"{path}.lora_{matrix}.weight"].to(dtype)
        if (alpha := next(alphas, None)) is not None:
            tensors[f"{name}.alpha"] = alpha
    for key, value in adapted(TEXT).items():
        path, _, matrix = key.removesuffix(".weight").rpartition(".lora_")
        part = {"A": "down", "B": "up"}[matrix]
        tensors[f"lora_te_{path.replace('.', '_')}.lora_{part}.weight"] = value.contiguous()
    metadata = {"modelspec.title": "Tusche 墨", "modelspec.license": "CC0-1.0"}
    save_file(tensors, folder / "v1.5_final.safetensors", metadata)
    return folder / "v1.5_final.safetensors"


def processors(folder: Path) -> Path:
    """Attention processors of old diffusers."""
    tensors = {}
    for key, value in adapted(UNET).items():
        if ATTENTION in key:
            path, _, matrix = key.removesuffix(".weight").rpartition(".lora_")
            projection = path.rpartition(f"{ATTENTION}.")[2].removesuffix(".0")
            part = {"A": "down", "B": "up"}[matrix]
            tensors[f"unet.{ATTENTION}.processor.{projection}_lora.{part}.weight"] = value
    save_file(tensors, folder / "old.safetensors")
    return folder / "old.safetensors"


def state_dict(folder: Path) -> Path:
    """PEFT's names with the adapter's."""
    tensors = {
        f"base_model.model.{key.replace('.weight', '.default.weight')}": value
        for key, value in adapted(UNET).items()
    }
    save_file(tensors, folder / "peft.safetensors")
    return folder / "peft.safetensors"


def sidecar(folder: Path) -> Path:
    """Values that round to subnormal and halfway fp16 numbers, and what A1111 keeps beside it."""
    random = np.random.default_rng(1)
    key = f"lora_unet_{ATTENTION.replace('.', '_')}_to_q"
    down = (random.normal(size=(4, 12)) * 10.0 ** random.integers(-9, 4, (4, 12))).astype(
        np.float32
    )
    down[0] = np.float32(1) + np.arange(12, dtype=np.float32) * np.float32(2**-11)  # ties
    down[1] = np.arange(12, dtype=np.float32) * np.float32(2**-25)  # ties of subnormals
    tensors = {f"{key}.lora_down.weight": torch.from_numpy(down)}
    tensors[f"{key}.lora_up.weight"] = torch.from_numpy(random.normal(size=(16, 4)))
    save_file(tensors, folder / "pen.safetensors")
    fields = {"description": "A pen", "activation text": "pen , line", "preferred weight": 1.75}
    (folder / "pen.json").write_text(json.dumps(fields | {"negative text": "colour"}))
    return folder / "pen.safetensors"


LYCORIS: dict[str, dict[str, Any]] = {
    "LoCon": {"network_module": "locon"},
    "LoCon with a Tucker core": {"network_module": "locon", "use_tucker": True},
    "LoCon with a scalar": {"network_module": "locon", "use_scalar": True},
    "LoHa": {"network_module": "loha"},
    "LoHa with Tucker cores": {"network_module": "loha", "use_tucker": True},
    "LoKr": {"network_module": "lokr", "factor": 2},
    "LoKr, both decomposed": {"network_module": "lokr", "factor": 4, "decompose_both": True},
    "LoKr with full matrices": {"network_module": "lokr", "full_matrix": True},
    "DoRA": {"network_module": "locon", "weight_decompose": True},
    "DoRA over inputs": {"network_module": "locon", "weight_decompose": True, "wd_on_out": False},
    "(IA)^3": {"network_module": "ia3"},
    "full": {"network_module": "full"},
}
PEFT: dict[str, tuple[Any, dict[str, Any]]] = {
    "LoRA of PEFT": (LoraConfig, {"lora_alpha": 3}),
    "rsLoRA of PEFT": (LoraConfig, {"lora_alpha": 3, "use_rslora": True}),
    "LoHa of PEFT": (LoHaConfig, {"alpha": 3}),
    "LoHa of PEFT with cores": (LoHaConfig, {"alpha": 3, "use_effective_conv2d": True}),
    "LoKr of PEFT": (LoKrConfig, {"alpha": 3, "decompose_factor": 2}),
}
FILES: dict[str, Callable[[Path], Path]] = {
    "kohya": kohya,
    "diffusers": diffusers_saver,
    "attention processors": processors,
    "PEFT state dict": state_dict,
    "with a sidecar": sidecar,
    **{name: lambda folder, o=options: lycoris(folder, **o) for name, options in LYCORIS.items()},
    **{
        name: lambda folder, c=config, o=options: peft(folder, c, **o)
        for name, (config, options) in PEFT.items()
    },
}


def packed(data: bytes) -> str:
    """Bytes as text: files full of ones become short."""
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def verdict(path: Path, tables: tuple[SlotTable, ...]) -> dict[str, Any]:
    """The pack that runtime makes of a file, or why it makes none."""
    try:
        lora = read_lora(path)
        details = read_details(lora)
        pack = make_pack(
            lora,
            *tables,
            **BASE,
            name=details.name,
            title=details.title,
            trigger_words=details.trigger_words,
            strength=details.strength,
            license=details.license,
            description=details.description,
        )
    except BrushletError as error:
        return {"refused": error.what}
    return {
        "pack": packed(dump_pack(pack)),
        "metadata": pack.metadata.model_dump(),
        "negative_prompt": details.negative_prompt,
        "norms": [change_norm(pack, table) for table in tables],
    }


def good() -> list[dict[str, Any]]:
    """The files of every saver."""
    cases = []
    for name, make in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder))
            beside = {file.name: file.read_text() for file in Path(folder).glob("*.json")}
            case = {"case": name, "name": path.name, "file": packed(path.read_bytes())}
            cases.append(case | {"beside": beside} | verdict(path, TABLES))
    return cases


def hostile() -> list[dict[str, Any]]:
    """Every file that tests/attacks/test_lora.py has refused, as it is run."""
    cases: list[dict[str, Any]] = []
    original, running = attacks.refusal, ""

    def recording(folder: Path, *arguments: Any, **options: Any) -> str:
        message = original(folder, *arguments, **options)
        path = folder / "evil.safetensors"
        case = {"case": running, "file": packed(path.read_bytes())}
        cases.append(case | verdict(path, (attacks.TABLE,)))
        return message

    class Recorder:
        def pytest_runtest_setup(self, item: pytest.Item) -> None:
            nonlocal running
            running = item.name
            sys.modules[item.module.__name__].refusal = recording  # type: ignore[attr-defined]

    code = pytest.main(
        ["-q", "--no-header", "-p", "no:cacheprovider", attacks.__file__], plugins=[Recorder()]
    )
    assert code == 0
    return cases


def main() -> None:
    """Writes the file."""
    vectors = {
        "grammar": lora_grammar().model_dump(),
        "tables": [slots.model_dump() for slots in TABLES],
        "hostile_table": attacks.TABLE.model_dump(),
        "good": good(),
        "hostile": hostile(),
    }
    path = HERE / "lora.json"
    path.write_text(json.dumps(vectors, separators=(",", ":")) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

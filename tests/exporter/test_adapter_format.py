"""FORMAT=adapter: the graph on onnxruntime with `LoraAdapter`s, against PEFT."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from exporter import adapter_format
from exporter.folder import RECEIPT, read_receipt
from exporter.golden import golden_inputs
from exporter.parity import TOLERANCE
from runtime.tensors import Float32
from tests.exporter.adapters import add
from tests.exporter.test_staging import listing
from tests.exporter.test_styles import assert_close, peft_step
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and PEFT about each other


@pytest.fixture(scope="module")
def feeds(tiny_base: Path) -> dict[str, Float32]:
    config = UNet2DConditionModel.load_config(tiny_base / "unet")
    return golden_inputs(config, 1000)["middle noise"]


def step(folder: Path, feeds: dict[str, Float32], adapter: str | None) -> Float32:
    session = onnxruntime.InferenceSession(folder / "unet.onnx", providers=["CPUExecutionProvider"])
    options = onnxruntime.RunOptions()
    loaded = onnxruntime.LoraAdapter()  # has to live as long as the options
    if adapter:
        loaded.Load(str(folder / adapter))
        options.add_active_adapter(loaded)
    return session.run(["out_sample"], feeds, options)[0]


@pytest.mark.parametrize(
    ("adapter", "strengths"),
    [
        (None, {}),
        ("wobble.onnx_adapter", {"wobble": 0.7}),
        # Weights that are powers of two leave an fp16 B exact.
        ("wiggle-wobble.onnx_adapter", {"wiggle": 0.5, "wobble": -0.25}),
    ],
)
def test_an_adapter_is_peft(
    adapter: str | None,
    strengths: dict[str, float],
    made: Path,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    feeds: dict[str, Float32],
) -> None:
    loras = [(tiny_loras[name], strength) for name, strength in strengths.items()]
    reference = peft_step(tiny_base, loras, feeds)
    assert_close(step(made, feeds, adapter), reference, TOLERANCE["fp32"])


def test_the_folder_says_what_it_holds(made: Path) -> None:
    receipt = read_receipt(made)
    assert receipt is not None
    assert set(listing(made)) == {ref.url for ref in receipt.files} | {RECEIPT}
    measured = {item.what for item in receipt.parity}
    adapters = ["wobble.onnx_adapter", "wiggle-wobble.onnx_adapter"]
    assert measured >= {f"{name} = merged" for name in adapters}


def test_an_interrupt_leaves_the_folder(
    folder: Path, tiny_base: Path, tiny_loras: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(folder)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapter_format, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add(tiny_base, folder, tiny_loras["wobble"], 0.1)
    assert listing(folder) == before


def test_a_style_of_the_same_name_is_replaced(
    folder: Path, made: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    before = listing(made)
    report = add(tiny_base, folder, tiny_loras["wobble"], 0.1)
    assert [ref.url for ref in report.written] == ["wobble.onnx_adapter"]
    after = listing(folder)
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"wobble.onnx_adapter", RECEIPT}


def test_adapters_of_another_base_are_gone_and_named(
    folder: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    other = tiny_pipeline(tmp_path / "other", seed=1)
    report = add(other, folder, tiny_loras["wobble"])
    assert "wiggle-wobble.onnx_adapter" in report.notes[-1]
    assert not (folder / "wiggle-wobble.onnx_adapter").exists()


def test_a_damaged_graph_is_exported_again(
    folder: Path, made: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    (folder / "unet.onnx").write_bytes(b"")
    add(tiny_base, folder, tiny_loras["wobble"], 0.7)
    after, before = listing(folder), listing(made)
    assert after.keys() == before.keys()  # the other adapter is still there
    assert {name for name in after if after[name] != before[name]} <= {RECEIPT}


@pytest.mark.parametrize(("name", "models"), [("accent", 2), ("speech", 1)])
def test_the_text_encoder_has_an_adapter_of_its_own(
    name: str, models: int, folder: Path, tiny_base: Path, text_loras: dict[str, Path]
) -> None:
    """What kohya trains by default; `speech` changes nothing else."""
    report = add(tiny_base, folder, text_loras[name], 0.5)
    files = [f"{name}.text_encoder.onnx_adapter"] + [f"{name}.onnx_adapter"] * (models - 1)
    assert sorted(ref.url for ref in report.written) == sorted(files)
    assert any(item.what == f"{files[0]} = merged" for item in report.parity)
    pipeline = StableDiffusionPipeline.from_pretrained(
        tiny_base, torch_dtype=torch.float32, safety_checker=None
    )
    tokens = torch.arange(77)[None] * 3 % 500
    with torch.no_grad():
        plain = pipeline.text_encoder(tokens).last_hidden_state.numpy()
        pipeline.load_lora_weights(text_loras[name].parent, weight_name=text_loras[name].name)
        pipeline.fuse_lora(components=["text_encoder"], lora_scale=0.5)
        expected = pipeline.text_encoder(tokens).last_hidden_state.numpy()
    session = onnxruntime.InferenceSession(
        folder / "text_encoder.onnx", providers=["CPUExecutionProvider"]
    )
    options = onnxruntime.RunOptions()
    loaded = onnxruntime.LoraAdapter()
    loaded.Load(str(folder / files[0]))
    options.add_active_adapter(loaded)
    feeds = {"input_ids": tokens.numpy()}
    assert_close(session.run(["last_hidden_state"], feeds)[0], plain, TOLERANCE["fp32"])
    found = session.run(["last_hidden_state"], feeds, options)[0]
    assert_close(found, expected, TOLERANCE["fp32"])

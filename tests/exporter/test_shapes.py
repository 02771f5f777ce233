"""The shapes of inner values that graphs tell onnxruntime are those that it computes."""

import os
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from runtime.bundle import Bundle
from tests.exporter.test_graphs import all_models, load, unet_graph

# Runs that have no size in common; the last one's heights and widths are halved to odd ones.
RUNS = [
    {"batch": 2, "height": 8, "width": 16, "tokens": 7, "rank": 3},
    {"batch": 3, "height": 24, "width": 32, "tokens": 5, "rank": 1},
    {"batch": 1, "height": 9, "width": 13, "tokens": 4, "rank": 2},
]
PREFIXES = re.compile("(latent|sample)_")
NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}

Shape = list[int | str]


@pytest.fixture(scope="module")
def folder(text_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where graphs find the bundle's shards."""
    folder = tmp_path_factory.mktemp("graphs")
    for shard in text_bundle.glob("*.bin"):
        os.link(shard, folder / shard.name)
    return folder


def told(model: onnx.ModelProto) -> dict[str, Shape]:
    return {
        info.name: [size.dim_param or size.dim_value for size in info.type.tensor_type.shape.dim]
        for info in model.graph.value_info
    }


class Inside:
    """A graph that gives away every inner value of which it tells the shape."""

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self.names = list(told(model))
        model.graph.output.extend(model.graph.value_info)
        onnx.save(model, folder / "inside.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(folder / "inside.onnx", options)

    def shapes(self, sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
        feeds = {
            value.name: np.ones(
                [
                    sizes[PREFIXES.sub("", size).removesuffix("_size")]
                    if isinstance(size, str)
                    else size
                    for size in value.shape
                ],
                NUMPY[value.type],
            )
            for value in self.session.get_inputs()
        }
        values = self.session.run(self.names, feeds) if self.names else []
        return {name: value.shape for name, value in zip(self.names, values, strict=True)}


def test_what_graphs_tell_of_shapes_is_so(text_bundle: Path, folder: Path) -> None:
    for graph, model in all_models(Bundle.open(text_bundle)):
        shapes = told(model)
        inside = Inside(model, folder)
        for sizes in RUNS:
            meaning = dict(sizes)
            for name, shape in inside.shapes(sizes).items():
                assert len(shape) == len(shapes[name])
                for said, size in zip(shapes[name], shape, strict=True):
                    means = meaning.setdefault(said, size) if isinstance(said, str) else said
                    assert means == size, (graph.file.url, name, shapes[name], shape)


def test_with_them_onnx_infers_every_shape(text_bundle: Path) -> None:
    """Without them every shape is lost behind the first Reshape to computed sizes."""
    bundle = Bundle.open(text_bundle)
    graph = unet_graph(bundle, "fp32", "fused")
    for ref in (graph.file, graph.shortcut):
        assert ref is not None
        model = onnx.shape_inference.infer_shapes(load(bundle, ref), data_prop=True)
        whole = {name for name, shape in told(model).items() if all(shape)}
        inner = {name for node in model.graph.node for name in node.output}
        assert inner - {value.name for value in model.graph.output} == whole


def test_no_rank_is_told(text_bundle: Path) -> None:
    """Slots may differ in it, and onnxruntime would give values of one name one memory."""
    for _, model in all_models(Bundle.open(text_bundle)):
        assert not [shape for shape in told(model).values() if "rank" in map(str, shape)]

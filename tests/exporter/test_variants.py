import numpy as np
import onnxruntime
import pytest

from exporter.graphs import serialize
from exporter.variants import whole_graph
from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from runtime.manifest import UNetGraph


def test_there_are_two_precisions_times_two_attentions(bundle: Bundle) -> None:
    for variant in bundle.manifest.unet:
        forms = [(graph.compute, graph.attention) for graph in variant.graphs]
        assert forms == [(c, a) for c in ("fp32", "fp16") for a in ("fused", "plain")]
        assert len({graph.file.url for graph in variant.graphs}) == 4


@pytest.mark.parametrize("variant", ["base", "wiggle-merged"])
def test_joined_a_graph_gives_the_golden_step(variant: str, bundle: Bundle) -> None:
    wanted = bundle.manifest.variant(variant)
    feeds, expected = golden_feeds(bundle, wanted)
    for graph in wanted.graphs:
        if graph.compute == "fp32":
            found = _run(bundle, graph, feeds)
            assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def _run(bundle: Bundle, graph: UNetGraph, feeds: dict[str, np.ndarray]) -> np.ndarray:
    model = serialize(whole_graph(bundle.folder, graph))
    options = onnxruntime.SessionOptions()
    folder = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(folder, str(bundle.folder))
    session = onnxruntime.InferenceSession(model, options)
    return np.asarray(session.run(["out_sample"], feeds)[0])

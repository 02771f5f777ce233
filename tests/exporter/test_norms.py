from pathlib import Path

import numpy as np
import onnxruntime

from exporter import graphs, norms
from exporter.variants import whole_graph
from runtime.bundle import Bundle
from runtime.golden import golden_feeds


def _nodes(path: Path) -> list[str]:
    return [node.op_type for node in graphs.parse(path.read_bytes()).graph]


def test_only_plain_graphs_normalise_in_two_passes(tiny_bundle: Path) -> None:
    for variant in Bundle.open(tiny_bundle).manifest.unet:
        for graph in variant.graphs:
            kinds = _nodes(tiny_bundle / graph.file.url)
            assert ("InstanceNormalization" in kinds) == (graph.attention == "fused")


def test_two_passes_keep_digits_that_a_large_mean_costs(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    variant = bundle.manifest.variant("base")
    feeds, expected = golden_feeds(bundle, variant)
    fused = next(g for g in variant.graphs if g.compute == "fp32" and g.attention == "fused")
    model = whole_graph(tiny_bundle, fused)
    norms.two_pass(model)
    path = tiny_bundle / ".two-pass.onnx"
    path.write_bytes(graphs.serialize(model))
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    finally:
        path.unlink()
    (found,) = session.run(["out_sample"], feeds)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()

"""What loading a large bundle into a browser costs: seconds and peak memory, at two visits.

    python -m benchmarks.loading BUNDLE [--memory]

The page goes the engine's way: files come through `Files`, sessions through `UNet.create`. In
WebAssembly nothing computes in fp16, and fp32 makes the weights twice as large. So the graphs are
stand-ins: the initializers and shards of the bundle's own fp16 graphs, each read by one Gather.
`--memory` keeps all shards in JavaScript instead, as the page did before it had a store. Last, the
bundle's own graphs are opened as the page opens them, and what comes of it is told.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from runtime.bundle import Bundle
from runtime.manifest import BASE_VARIANT

WEB = Path(__file__).parents[1] / "web"


def stand_in(graph: Path) -> onnx.ModelProto:
    """A graph that has, and needs, the external initializers of `graph`."""
    model = onnx.load(graph, load_external_data=False)
    weights = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    # An index that only a run knows, so that no weight is folded away with its row.
    nodes, sums = [helper.make_node("Cast", ["sample"], ["index"], to=TensorProto.INT64)], []
    for index, weight in enumerate(weights):
        nodes += [
            helper.make_node("Gather", [weight.name, "index"], [f"row_{index}"]),
            helper.make_node("Cast", [f"row_{index}"], [f"wide_{index}"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [f"wide_{index}"], [f"sum_{index}"], keepdims=0),
        ]
        sums.append(f"sum_{index}")
    nodes.append(helper.make_node("Sum", [*sums, "sample"], ["out_sample"]))
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
        for name in ("sample", "out_sample")
    ]
    body = helper.make_graph(nodes, "loading", values[:1], values[1:], weights)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def main() -> None:
    """Prints a line for each phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--memory", action="store_true", help="hold all shards in JavaScript")
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    variant = bundle.manifest.variant(BASE_VARIANT)
    graph = next(g for g in variant.graphs if g.compute == "fp16" and g.attention == "fused")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {"prepare": graph.prepare, "step": graph.file, "shortcut": graph.shortcut}
        for part, file in parts.items():
            onnx.save(stand_in(given.bundle / file.url), folder / f"{part}.onnx")
        shards = [bundle.manifest.shards[key].model_dump(mode="json") for key in graph.shards]
        (folder / "shards.json").write_text(json.dumps(shards))
        command = ["node", "tests/browser/peak.mjs", "--bundle", str(given.bundle.resolve())]
        command += ["--stand-ins", str(folder), *(["--memory"] if given.memory else [])]
        subprocess.run(command, cwd=WEB, check=True)


if __name__ == "__main__":
    main()

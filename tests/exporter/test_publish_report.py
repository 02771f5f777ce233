import re
from pathlib import Path

from exporter.publish_report import first_visit, wire_bytes
from runtime.bundle import Bundle
from tests.exporter.sites import SCRIPT, publish
from tests.exporter.test_export import command


def test_a_new_visitor_is_counted_by_what_a_provider_needs(
    dist: Path, page: Path, site: Path
) -> None:
    report = publish(dist, page, site)
    manifest = Bundle.open(dist).manifest
    wasm = first_visit(manifest, report.sizes, "wasm")
    assert next(name for name in wasm if name.endswith(".wasm")).endswith("threaded.wasm")
    graphs = [name for name in wasm if re.search(r"/unet-.*\.onnx$", name)]
    kinds = [re.search(r"fused(-prepare|-shortcut)?-[0-9a-f]{16}", name) for name in graphs]
    assert {kind[1] for kind in kinds if kind} == {None, "-prepare", "-shortcut"}
    assert len(graphs) == 3
    assert f"assets/{SCRIPT}" in wasm
    assert not any("ort.all" in name or "merged" in name for name in wasm)
    parts = [name for name in wasm if name.endswith(".onnx") and name not in graphs]
    assert sorted(name.split("/")[1].split("-")[0] for name in parts) == [
        "text_encoder",
        "vae_decoder",
    ]
    webgpu = first_visit(manifest, report.sizes, "webgpu")
    assert any(name.endswith("asyncify.wasm") for name in webgpu)
    assert report.visit.new["wasm"] == sum(wire_bytes(report.sizes, name) for name in wasm)


def test_the_command_says_what_changed_and_what_it_costs(
    dist: Path, page: Path, site: Path
) -> None:
    call = ["dist", "--bundle", dist, "--page", page, "--out", site, "--quality", 1]
    done = command(*call, "--server", "https://paint.test", "--no-isolate")
    assert done.returncode == 0, done.stderr
    assert "a new visitor" in done.stdout
    assert "pack-wiggle" in done.stdout
    again = command(*call, "--server", "https://paint.test", "--no-isolate")
    assert "nothing has changed" in again.stdout

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporter import parity, staging
from exporter.export import StyleRequest, export, find_lora
from exporter.progress import silent
from runtime.bundle import Bundle
from runtime.errors import BrushletError, ParityMissed, UnmatchedKeys, WrongBase
from runtime.manifest import MANIFEST_NAME
from runtime.tensors import read_tensors, write_tensors
from tests.exporter.test_staging import listing


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_bundle_is_whole(bundle: Bundle) -> None:
    bundle.verify()
    refs = {ref.url for ref in bundle.files()} | {MANIFEST_NAME}
    assert set(listing(bundle.folder)) == refs
    assert [style.name for style in bundle.manifest.styles] == ["wiggle", "wobble", "wiggle-merged"]
    assert bundle.style("wiggle").rank == 4


def test_an_external_export_needs_no_torch(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    script = f"""
import sys
from pathlib import Path
from exporter.export import StyleRequest, export
from exporter.progress import silent
request = StyleRequest(Path({str(tiny_loras["wobble"])!r}), "external", name="again")
outcome = export(Path({str(tiny_base)!r}), Path({str(dist)!r}), silent, request)
assert [ref.url.split("-")[0] for ref in outcome.written] == ["styles/pack"], outcome.written
heavy = {{"torch", "diffusers", "transformers", "optimum"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert Bundle.open(dist).style("again").kind == "external"


def test_a_full_export_by_command_gives_the_same_bytes(
    bundle: Bundle, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "dist"
    done = command(
        "export",
        "--lora",
        tiny_loras["wiggle"],
        "--base",
        tiny_base,
        "--out",
        out,
        "--strength",
        0.8,
    )
    assert done.returncode == 0, done.stderr
    assert "base fp16 plain, low noise" in done.stdout
    assert "Traceback" not in done.stderr
    ours = Bundle.open(out).manifest
    assert {ref.url for ref in Bundle.open(out).files()} < {ref.url for ref in bundle.files()}
    assert ours.unet == bundle.manifest.unet[:1]


def test_keys_without_a_slot_stop_the_export_with_their_list(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    tensors, _ = read_tensors(tiny_loras["wobble"])
    for part, shape in (("down", (2, 32)), ("up", (32, 2))):
        tensors[f"lora_unet_conv_strange.lora_{part}.weight"] = np.ones(shape, np.float16)
    path = tmp_path / "odd.safetensors"
    write_tensors(path, tensors, {})
    before = listing(dist)
    with pytest.raises(UnmatchedKeys, match="lora_unet_conv_strange"):
        export(tiny_base, dist, silent, StyleRequest(path, "external"))
    assert listing(dist) == before
    done = command("export", "--lora", path, "--base", tiny_base, "--out", dist)
    assert done.returncode == UnmatchedKeys.exit_code
    assert "lora_unet_conv_strange" in done.stderr
    assert "Traceback" not in done.stderr
    assert listing(dist) == before


def test_a_lora_of_another_size_stops_the_export(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    tensors, _ = read_tensors(tiny_loras["wobble"])
    wide = {
        key: np.pad(array, ((0, 0), (0, 8))) if key.endswith("down.weight") else array
        for key, array in tensors.items()
    }
    write_tensors(tmp_path / "wide.safetensors", wide, {})
    with pytest.raises(WrongBase, match="other widths"):
        export(tiny_base, dist, silent, StyleRequest(tmp_path / "wide.safetensors", "merged"))


@pytest.mark.parametrize("mode", ["external", "merged"])
def test_a_missed_gate_leaves_the_bundle_as_it_was(
    mode: str,
    dist: Path,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = listing(dist)
    honest: Callable[..., np.ndarray] = parity.Runner.__call__
    calls = []

    def wrong(self: parity.Runner, feeds: dict[str, np.ndarray]) -> np.ndarray:
        calls.append(1)
        return honest(self, feeds) * np.float32(1 + 0.01 * len(calls))

    monkeypatch.setattr(parity.Runner, "__call__", wrong)
    with pytest.raises(ParityMissed, match="wobble"):
        export(tiny_base, dist, silent, StyleRequest(tiny_loras["wobble"], mode, name="wobble-new"))
    assert listing(dist) == before


@pytest.mark.parametrize("survivor", ["weights", "unet", "pack", MANIFEST_NAME])
def test_an_interrupt_while_publishing_leaves_a_valid_bundle(
    survivor: str,
    dist: Path,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`survivor`: the file at whose turn the interrupt comes."""
    before = Bundle.open(dist).manifest
    mode = "external" if survivor == "pack" else "merged"
    request = StyleRequest(tiny_loras["wobble"], mode, name="late")
    with monkeypatch.context() as patch:

        def sync(path: Path) -> None:
            if path.name.startswith(survivor):
                raise KeyboardInterrupt

        def write(path: Path, data: bytes) -> None:
            raise KeyboardInterrupt

        patch.setattr(staging, "_sync", sync)
        patch.setattr(staging, "write_whole", write)
        with pytest.raises(KeyboardInterrupt):
            export(tiny_base, dist, silent, request)
    Bundle.open(dist).verify()
    assert Bundle.open(dist).manifest == before
    export(tiny_base, dist, silent, request)  # and the next one clears up and succeeds
    after = Bundle.open(dist)
    after.verify()
    assert set(listing(dist)) == {ref.url for ref in after.files()} | {MANIFEST_NAME}
    assert after.style("late").kind == mode


def test_a_style_of_the_same_name_is_replaced(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    export(tiny_base, dist, silent, StyleRequest(tiny_loras["wobble"], "external", "wiggle-merged"))
    bundle = Bundle.open(dist)
    names = [style.name for style in bundle.manifest.styles]
    assert sorted(names) == ["wiggle", "wiggle-merged", "wobble"]
    assert bundle.style("wiggle-merged").kind == "external"
    assert [variant.name for variant in bundle.manifest.unet] == ["base"]
    bundle.verify()
    assert set(listing(dist)) == {ref.url for ref in bundle.files()} | {MANIFEST_NAME}


def test_a_lora_is_found_by_name_or_path(tiny_loras: dict[str, Path]) -> None:
    assert find_lora(str(tiny_loras["wiggle"])) == tiny_loras["wiggle"]
    with pytest.raises(BrushletError, match="there is no such LoRA"):
        find_lora("no-such-style")

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter import BESIDE, external, parity, staging
from exporter.export import StyleRequest, export
from exporter.progress import silent
from exporter.report import REPORT_NAME
from runtime.bundle import Bundle
from runtime.digests import base_hash
from runtime.errors import ParityMissed, UnmatchedKeys, WrongBase
from runtime.lora import BASE_HASH_KEY
from runtime.manifest import MANIFEST_NAME
from runtime.packs import Pack
from runtime.pipeline import Pipeline
from runtime.tensors import Array, read_tensors, write_tensors
from tests.exporter.test_staging import listing
from tests.parity.reference import Reference, psnr, relative_error
from tests.tiny import tiny_pipeline


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_bundle_is_whole(bundle: Bundle) -> None:
    bundle.verify()
    refs = {ref.url for ref in bundle.files()} | {MANIFEST_NAME, REPORT_NAME}
    assert set(listing(bundle.folder)) == refs
    assert [style.name for style in bundle.manifest.styles] == ["wiggle", "wobble", "wiggle-merged"]
    assert bundle.style("wiggle").rank == 4


@pytest.mark.parametrize("mode", ["external", "merged"])
def test_a_style_of_a_large_base_needs_no_torch(
    mode: str, dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    """Merged, it has no golden vector: the base's stands for it."""
    script = f"""
import sys
from pathlib import Path
import exporter.merged
exporter.merged.GOLDEN_UP_TO = 0
from exporter.export import StyleRequest, export
from exporter.progress import silent
from exporter.report import REPORT_NAME
request = StyleRequest(Path({str(tiny_loras["wobble"])!r}), {mode!r}, name="again")
outcome = export(Path({str(tiny_base)!r}), Path({str(dist)!r}), silent, request)
kinds = {{ref.url.split("-")[0] for ref in outcome.written}}
assert kinds == {{"styles/pack"}} if {mode!r} == "external" else {{"weights", "unet"}}, kinds
heavy = {{"torch", "diffusers", "transformers", "optimum"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    bundle = Bundle.open(dist)
    bundle.verify()
    assert bundle.style("again").kind == mode
    if mode == "merged":
        assert bundle.manifest.variant("again").golden is None
        pipeline = Pipeline(bundle)
        merged = pipeline.generate("a hill", styles={"again": 1.0}, steps=4)
        external = pipeline.generate("a hill", styles={"wobble": 1.0}, steps=4)
        assert relative_error(merged.latents, external.latents) <= 2e-3


def test_a_full_export_by_command_gives_the_same_bytes(
    bundle: Bundle,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # it traces for itself
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


def test_a_damaged_base_is_exported_again_and_a_damaged_style_is_dropped(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    def flip(pattern: str) -> str:
        (path,) = dist.glob(pattern)
        data = bytearray(path.read_bytes())
        path.unlink()  # a hard link of the session's bundle
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        return path.relative_to(dist).as_posix()

    again = StyleRequest(tiny_loras["wiggle"], "external")
    pack = flip("styles/pack-wobble-*")
    outcome = export(tiny_base, dist, silent, again)
    assert "not exported again" in outcome.notes[1]
    assert pack in outcome.notes[0]
    assert "wobble" in outcome.notes[2]
    Bundle.open(dist).verify()
    graph = flip("unet-base-fp32-fused-prepare-*")
    outcome = export(tiny_base, dist, silent, again)
    assert graph in outcome.notes[0]
    Bundle.open(dist).verify()
    assert [style.name for style in outcome.manifest.styles] == ["wiggle"]


def test_a_base_that_is_exported_again_keeps_its_slots(tiny_base: Path, tmp_path: Path) -> None:
    """A new exporter does not narrow what people chose, which would cost them their styles."""
    export(tiny_base, tmp_path, silent, slot_set="attn")
    outcome = export(tiny_base, tmp_path, silent, fresh=True)
    assert Bundle.open(tmp_path).slot_table().slot_set == "attn"
    assert not any("SLOTS" in note for note in outcome.notes)
    outcome = export(tiny_base, tmp_path, silent, slot_set="transformer")
    assert "The slots were those of SLOTS=attn" in " ".join(outcome.notes)


def test_a_style_of_another_file_takes_the_place_of_one_by_name(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    again = StyleRequest(tiny_loras["wiggle"], "external")
    assert not any(
        "takes the place" in note for note in export(tiny_base, dist, silent, again).notes
    )
    other = StyleRequest(tiny_loras["wobble"], "external", name="wiggle")
    notes = " ".join(export(tiny_base, dist, silent, other).notes)
    assert "It takes the place of the style wiggle" in notes


def test_a_part_that_adds_nothing_is_no_obstacle(
    dist: Path, tiny_base: Path, text_loras: dict[str, Path], tmp_path: Path
) -> None:
    """kohya writes the text encoder's part even when it was trained at a rate of 0."""
    tensors, metadata = read_tensors(text_loras["accent"])
    still = {
        key: np.zeros_like(value) if key.startswith("lora_te") and "up" in key else value
        for key, value in tensors.items()
    }
    assert sum(not value.any() for value in still.values()) > 0
    write_tensors(tmp_path / "still.safetensors", still, metadata)
    request = StyleRequest(tmp_path / "still.safetensors", "external")
    style = export(tiny_base, dist, silent, request).manifest.styles[-1]
    assert [line.error for line in style.parity if "text encoder" in line.what] == [0]


def test_the_manifest_keeps_what_the_gate_measured(
    bundle: Bundle, dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    measured = {item.what: item for item in bundle.manifest.parity}
    assert measured.keys() >= {"text encoder", "base fp16 plain, low noise"}
    assert all(0 < item.error <= item.tolerance for item in measured.values())
    export(tiny_base, dist, silent, StyleRequest(tiny_loras["wobble"], "external", name="again"))
    manifest = Bundle.open(dist).manifest
    assert manifest.parity == bundle.manifest.parity
    assert [line.what for line in manifest.styles[-1].parity] == ["again: pack = file"]
    assert all(style.parity for style in manifest.styles)


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
    write_tensors(tmp_path / "wide.safetensors", wide, {BASE_HASH_KEY: "0" * 64})
    ours = base_hash(tiny_base)[:12]
    names = rf"the base here is tiny \({ours}\), the LoRA names the base {'0' * 12} - use a LoRA"
    with pytest.raises(WrongBase, match=rf"other widths: .*; {names}"):
        export(tiny_base, dist, silent, StyleRequest(tmp_path / "wide.safetensors", "merged"))


def test_a_lora_of_another_base_is_taken_with_a_note(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    tensors, _ = read_tensors(tiny_loras["wobble"])
    for trained_on, noted in (("0" * 64, True), (base_hash(tiny_base), False)):
        write_tensors(tmp_path / "moved.safetensors", tensors, {BASE_HASH_KEY: trained_on})
        request = StyleRequest(tmp_path / "moved.safetensors", "external")
        notes = export(tiny_base, dist, silent, request).notes
        told = [note for note in notes if "trained on another base" in note]
        assert len(told) == noted
        for note in told:
            assert f"({'0' * 12}; this one is tiny, {base_hash(tiny_base)[:12]})" in note
            assert "(BASE=)" in note


@pytest.mark.parametrize("mode", ["external", "merged"])
def test_a_missed_gate_leaves_the_bundle_as_it_was(
    mode: str,
    dist: Path,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = listing(dist)
    honest = parity.Runner.each
    honest_pack = external.make_pack
    calls = []

    def wrong(self: parity.Runner, feeds: Mapping[str, Array]) -> list[dict[str, Array]]:
        calls.append(1)
        factor = np.float32(1 + 0.01 * len(calls))
        return [
            {name: output * factor for name, output in outputs.items()}
            for outputs in honest(self, feeds)
        ]

    def wrong_pack(*given: Any, **named: Any) -> Pack:
        pack = honest_pack(*given, **named)
        name = next(name for name in pack.tensors if name.endswith("lora_B"))
        return replace(pack, tensors={**pack.tensors, name: -pack.tensors[name]})

    monkeypatch.setattr(parity.Runner, "each", wrong)
    monkeypatch.setattr(external, "make_pack", wrong_pack)
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
    assert set(listing(dist)) == {ref.url for ref in after.files()} | {MANIFEST_NAME, REPORT_NAME}
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
    assert set(listing(dist)) == {ref.url for ref in bundle.files()} | {MANIFEST_NAME, REPORT_NAME}


def test_a_base_laid_out_as_stable_diffusion_2(tmp_path: Path) -> None:
    folder = tmp_path / "sd2"
    base = tiny_pipeline(folder, prediction_type="v_prediction", linear_projection=True)
    outcome = export(base, tmp_path / "dist", silent)
    assert all(item.passed for item in outcome.parity)
    bundle = Bundle.open(tmp_path / "dist")
    assert bundle.manifest.model.prediction_type == "v_prediction"
    assert {slot.kind for slot in bundle.slot_table().slots} == {"linear"}
    settings = {"seed": 3, "steps": 4, "guidance_scale": 5.0}
    ours = Pipeline(bundle).generate("a castle", sampler="ddim", **settings)
    _, theirs = Reference(base).picture("a castle", sampler="ddim", strengths={}, **settings)
    assert psnr(ours.pixels / 255.0, theirs) >= 50  # 8-bit against float; 60 among 8-bit ones


def test_what_has_no_part_in_a_base_is_not_imported_for_it() -> None:
    """`exporter.NAME` says by whose code a base was exported, and leaves these modules out."""
    script = (
        "import sys, exporter.base;"
        "print(*(name.partition('.')[2] for name in sys.modules if name.startswith('exporter.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    imported = set(done.stdout.splitlines()[-1].split())
    modules = {path.stem for path in Path(external.__file__).parent.glob("*.py")} - {"__init__"}
    assert modules - imported == BESIDE, done.stderr

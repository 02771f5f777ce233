import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from runtime.__main__ import app
from runtime.errors import BrushletError, ParityMissed


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_verify_tells_how_far_each_graph_for_the_cpu_is_from_pytorch(tiny_bundle: Path) -> None:
    result = call("verify", tiny_bundle)
    assert result.exit_code == 0
    for variant in ("base", "wiggle-merged"):
        for attention in ("fused", "plain"):
            assert f"{variant} (fp32, {attention} attention): " in result.output
    assert "files are as the manifest says" in result.output


def test_verify_finds_a_wrong_second_graph(tiny_bundle: Path, tmp_path: Path) -> None:
    """In place of the base's plain one stands the merged style's, a whole file of the bundle."""
    folder = shutil.copytree(tiny_bundle, tmp_path / "dist", copy_function=os.link)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    base, merged = ({v["name"]: v for v in manifest["unet"]}[n] for n in ("base", "wiggle-merged"))
    place = [(graph["compute"], graph["attention"]) for graph in base["graphs"]]
    plain = place.index(("fp32", "plain"))
    assert plain > 0
    base["graphs"][plain] = merged["graphs"][plain]
    (folder / "manifest.json").unlink()  # a link to the bundle's
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = call("verify", folder)
    assert isinstance(result.exception, ParityMissed)


def test_generate_draws_a_picture(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "picture.webp"
    options = ["--style", "wiggle:0.8", "--style", "wobble", "--seed", "3", "--steps", "3"]
    options += ["--guidance", "2", "--sampler", "euler", "--negative", "dark", "--size", "96x64"]
    result = call("generate", tiny_bundle, "a castle", *options, "--out", out)
    assert result.exit_code == 0
    with Image.open(out) as picture:
        assert (picture.size, picture.format) == ((96, 64), "WEBP")
    assert "3/3" in result.stderr
    assert result.stdout.strip() == str(out)


def test_generate_paints_into_a_picture(inpainting_bundle: Path, tmp_path: Path) -> None:
    image, mask, out = (tmp_path / f"{name}.png" for name in ("image", "mask", "out"))
    Image.new("RGB", (70, 90), "red").save(image)
    Image.new("1", (70, 90), 1).save(mask)
    result = call(
        *("generate", inpainting_bundle, "a castle", "--steps", "1", "--out", out),
        *("--image", image, "--mask", mask),
    )
    assert result.exit_code == 0
    assert out.is_file()
    mask.write_bytes(b"no picture")
    result = call("generate", inpainting_bundle, "a castle", "--image", image, "--mask", mask)
    assert "does not open as a picture" in str(result.exception)


def test_generate_reads_tags_weights_and_clip_skip(tiny_bundle: Path, tmp_path: Path) -> None:
    def drawn(prompt: str, *options: str) -> bytes:
        out = tmp_path / "picture.png"
        steps = ("--steps", "1", "--out", out)
        assert call("generate", tiny_bundle, prompt, *options, *steps).exit_code == 0
        return out.read_bytes()

    tagged = drawn("a castle<lora:wiggle:0.8>")
    assert tagged == drawn("a castle", "--style", "wiggle:0.8")
    # A style that is named twice adds up, however it is named.
    assert tagged == drawn("a castle", "--style", "wiggle:0.5", "--style", "wiggle:0.3")
    prompts = (["a castle"], ["a (castle:1.4)"], ["a castle", "--clip-skip", "1"])
    assert len({drawn(*prompt) for prompt in prompts} | {tagged}) == 4
    result = call("generate", tiny_bundle, "x", "--clip-skip", "3")
    assert "cannot leave out its last 3 layers" in str(result.exception)


def test_generate_begins_over_a_picture_and_draws_several(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    image, out = tmp_path / "image.png", tmp_path / "drawn.png"
    Image.new("RGB", (70, 90), "red").save(image)
    options = ["--image", image, "--image-strength", "0.5", "--guidance-range", "0.2:0.8"]
    options += ["--steps", "4", "--seed", "7"]
    result = call("generate", tiny_bundle, "a castle", *options, "--count", "2", "--out", out)
    assert result.exit_code == 0
    several = [tmp_path / "drawn-7.png", tmp_path / "drawn-8.png"]
    assert result.stdout.split() == [str(path) for path in several]
    assert "2/2" in result.stderr
    options[-1] = "8"
    call("generate", tiny_bundle, "a castle", *options, "--out", out)
    # A picture of several is the picture made alone.
    assert out.read_bytes() == several[1].read_bytes() != several[0].read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--guidance-range", "half"], "write FROM:TO"),
        (["--style", "wiggle:much"], "'wiggle:much' has no strength"),
        (["--style", "wiggle:1:2:3"], "'wiggle:1:2:3' has no strength"),
        (["--style", "nobody"], "no style 'nobody'"),
        (["--size", "big"], "'big' is no size"),
        (["--out", "picture.gif"], "picture.gif has no picture suffix"),
        (["--provider", "abacus"], "no provider 'abacus'"),
    ],
)
def test_wrong_options_are_told(options: list[str], words: str, tiny_bundle: Path) -> None:
    result = call("generate", tiny_bundle, "a castle", "--steps", "1", *options)
    assert isinstance(result.exception, BrushletError)
    assert words in str(result.exception)
    assert result.exception.todo


def test_the_help_says_what_is_taken_by_default() -> None:
    shown = " ".join(click.unstyle(call("generate", "--help").output).replace("│", " ").split())
    assert "default: what the base advises, else the sampler's" in shown
    assert "default: what the base advises, else the bundle's first" in shown


def generated(bundle: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtime", "generate", str(bundle), "a castle"]
    command += ["--steps", "1", "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_line(tiny_bundle: Path, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(1 << 20))
    out = small_disk / "picture.png"
    done = generated(tiny_bundle, out)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {out}: cannot be written (No space left on device)")
    assert "--out" in last
    assert "Traceback" not in done.stderr
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_read_only_disk_is_told_before_drawing(tiny_bundle: Path, read_only_disk: Path) -> None:
    out = read_only_disk / "picture.png"
    done = generated(tiny_bundle, out)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {out}: cannot be written (Read-only file system)")


def test_a_problem_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime", "verify", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {tmp_path}: has no manifest.json")

import io
import json
import select
import shutil
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from runtime.bundle import Bundle
from runtime.tensors import dump_tensors, parse_tensors
from runtime.text import TextEncoder
from server.app import create_app
from server.settings import Settings
from tests.conftest import MERGED_STRENGTH
from tests.parity.reference import relative_error
from tests.server.conftest import picture, problem, running, until_opened

JSON = {"Content-Type": "application/json"}
TENSORS = {"Content-Type": "application/x-safetensors"}
BYTES = {"Content-Type": "application/octet-stream"}


def latents(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.18, shape).astype(np.float32)


def huge_picture() -> bytes:
    """A PNG whose header promises 30000x30000 pixels."""
    whole = picture("png")
    header = b"IHDR" + struct.pack(">II", 30000, 30000) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def test_encode_equals_transformers(client: httpx.Client, tiny_base: Path) -> None:
    prompts = {"prompt": "a castle, día ☁", "negative_prompt": "fog"}
    response = client.post("/v1/encode", json=prompts)
    assert response.headers["content-type"] == "application/x-safetensors"
    tensors, metadata = parse_tensors(response.content, "answer")

    tokenizer = CLIPTokenizer.from_pretrained(tiny_base / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(tiny_base / "text_encoder", torch_dtype=torch.float32)
    ids = tokenizer(list(prompts.values()), padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = encoder(ids)[0].numpy()
    assert set(tensors) == {"prompt_embeds", "negative_prompt_embeds"}
    for embeds, row in zip(("prompt_embeds", "negative_prompt_embeds"), expected, strict=True):
        assert tensors[embeds].dtype == np.float32
        assert tensors[embeds].shape == (1, *row.shape)
        np.testing.assert_allclose(tensors[embeds][0], row, atol=1e-5 * np.abs(row).max())
    assert metadata == {}


def test_encode_reads_weights_long_prompts_and_clip_skip(
    client: httpx.Client, tiny_bundle: Path
) -> None:
    words = {"prompt": "a (castle:1.3), " * 20, "negative_prompt": "fog"}
    response = client.post("/v1/encode", json=words | {"clip_skip": 2})
    tensors, _ = parse_tensors(response.content, "answer")
    expected = TextEncoder(Bundle.open(tiny_bundle)).encode([*words.values()], clip_skip=2)
    assert expected.shape[1] > 77
    found = [tensors["prompt_embeds"][0], tensors["negative_prompt_embeds"][0]]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"prompt": "a <lora:wiggle:0.8>"}, "hold the style tag <lora:wiggle:0.8> - take it out"),
        ({"prompt": "", "negative_prompt": "<lora:a>"}, "hold the style tag <lora:a>"),
        ({"prompt": "", "clip_skip": 3}, "cannot leave out its last 3 layers - choose from 0 to 2"),
        ({"prompt": "(a:1" + "0" * 50 + ")"}, "lower the strengths of the styles and the weights"),
    ],
)
def test_words_that_cannot_be_read(
    client: httpx.Client, asked: dict[str, object], complaint: str
) -> None:
    response = client.post("/v1/encode", json=asked)
    assert complaint in problem(response, 422, "brushlet-error")


@pytest.fixture(scope="module")
def styled(settings: Settings, text_bundle: Path) -> Iterator[httpx.Client]:
    """A client of a server whose bundle has styles that change the text encoder."""
    with running(create_app(settings.model_copy(update={"bundle": text_bundle}))) as client:
        assert until_opened(client).status_code == 200
        yield client


@pytest.mark.filterwarnings("ignore")
def test_encode_equals_diffusers_with_styles(
    styled: httpx.Client, tiny_base: Path, text_loras: dict[str, Path]
) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        tiny_base, torch_dtype=torch.float32, safety_checker=None
    )
    for name, path in text_loras.items():
        pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    words = {"prompt": "a castle", "negative_prompt": "fog"}
    cases = [
        ([{"name": "accent", "te": 0.7}, {"name": "speech", "te": -0.5}], [0.7, -0.5], 1e-5),
        ([{"name": "accent", "te": 1.3}, {"name": "wobble", "te": 1}], [1.3, 0], 1e-5),
        # Merged weights are rounded to fp16.
        ([{"name": "accent-merged", "te": MERGED_STRENGTH}], [MERGED_STRENGTH, 0], 5e-3),
        ([{"name": "wiggle-merged", "te": MERGED_STRENGTH}], [0, 0], 1e-5),
    ]
    for styles, strengths, tolerance in cases:
        pipeline.set_adapters(list(text_loras), strengths)
        with torch.no_grad():
            expected, negative = pipeline.encode_prompt(
                words["prompt"], torch.device("cpu"), 1, True, words["negative_prompt"]
            )
        tensors, _ = parse_tensors(
            styled.post("/v1/encode", json=words | {"styles": styles}).content, "answer"
        )
        assert relative_error(tensors["prompt_embeds"], expected.numpy()) <= tolerance
        assert relative_error(tensors["negative_prompt_embeds"], negative.numpy()) <= tolerance


@pytest.mark.parametrize(
    ("styles", "complaint"),
    [
        ([{"name": "nobody", "te": 1}], "no style 'nobody' - choose one of: wiggle"),
        ([{"name": "accent-merged", "te": 0.3}], "merged at the strength 0.8 - use it alone"),
        ([{"name": "accent", "te": 1e300}], "style accent: the strength 1e+300 is no number"),
        ([{"name": "accent", "te": 1e37}], "lower the strengths"),
    ],
)
def test_styles_that_cannot_be_used(
    styled: httpx.Client, styles: list[dict[str, object]], complaint: str
) -> None:
    response = styled.post("/v1/encode", json={"prompt": "x", "styles": styles})
    assert complaint in problem(response, 422, "brushlet-error")


def test_a_style_of_another_base(settings: Settings, text_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(text_bundle, tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["base_hash"] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with running(create_app(settings.model_copy(update={"bundle": bundle}))) as client:
        assert until_opened(client).status_code == 200
        body = {"prompt": "x", "styles": [{"name": "accent", "te": 1}]}
        detail = problem(client.post("/v1/encode", json=body), 422, "wrong-base")
        assert "is made for the base tiny" in detail


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_decode_equals_diffusers(client: httpx.Client, tiny_base: Path, kind: str) -> None:
    z = latents(1, 4, 6, 8)
    body = dump_tensors({"latents": z}, {})
    response = client.post(f"/v1/decode?format={kind}", content=body, headers=TENSORS)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == f"image/{kind}"
    with Image.open(io.BytesIO(response.content)) as drawn:
        assert (drawn.format, drawn.size) == (kind.upper(), (64, 48))
        pixels = np.asarray(drawn.convert("RGB"), np.float32)

    vae = AutoencoderKL.from_pretrained(tiny_base / "vae", torch_dtype=torch.float32)
    with torch.no_grad():
        sample = vae.decode(torch.from_numpy(z) / vae.config.scaling_factor).sample[0]
    expected = ((sample / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    error = np.abs(pixels - expected)
    if kind == "png":
        assert error.max() <= 1
    else:
        assert error.mean() <= 20  # lossy, and the picture is noise: 13 when this was written


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_encode_image_equals_diffusers(client: httpx.Client, tiny_base: Path, kind: str) -> None:
    body = picture(kind)
    response = client.post(
        "/v1/encode-image", content=body, headers={"Content-Type": f"image/{kind}"}
    )
    tensors, _ = parse_tensors(response.content, "answer")

    vae = AutoencoderKL.from_pretrained(tiny_base / "vae", torch_dtype=torch.float32)
    with Image.open(io.BytesIO(body)) as opened:
        pixels = torch.from_numpy(np.array(opened.convert("RGB"), np.float32))
    with torch.no_grad():
        posterior = vae.encode(pixels.permute(2, 0, 1)[None] / 127.5 - 1).latent_dist
    expected = (posterior.mean * vae.config.scaling_factor).numpy()
    assert tensors["latents"].shape == (1, 4, 6, 8)
    np.testing.assert_allclose(tensors["latents"], expected, atol=1e-5 * np.abs(expected).max())
    deviation = (posterior.std * vae.config.scaling_factor).numpy()
    both = np.concatenate([expected, deviation], axis=1)
    response = client.post(
        "/v1/encode-image?posterior=true",
        content=body,
        headers={"Content-Type": f"image/{kind}"},
    )
    tensors, _ = parse_tensors(response.content, "answer")
    np.testing.assert_allclose(tensors["posterior"], both, atol=1e-5 * np.abs(both).max())


def test_jpeg_and_transparency_are_read(client: httpx.Client) -> None:
    for body in (picture("jpeg"), picture("png", mode="RGBA"), picture("png", mode="L")):
        response = client.post("/v1/encode-image", content=body, headers=BYTES)
        assert response.status_code == 200, response.text


def test_styles(client: httpx.Client) -> None:
    styles = {style["name"]: style for style in client.get("/v1/styles").json()}
    assert set(styles) == {"wiggle", "wobble", "wiggle-merged"}
    pack = styles["wiggle"]["pack"]
    response = client.get(f"/bundle/{pack['url']}")
    assert len(response.content) == pack["bytes"]


def test_health(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["bundle"], ready["styles"]) == ("ready", "tiny", 3)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", "prompt: Field required"),
        (b'{"prompt": 1}', "prompt: Input should be a valid string"),
        (b'{"prompt": "x", "steps": 3}', "steps: Extra inputs are not permitted"),
        (b'{"prompt": "x", "clip_skip": -1}', "clip_skip: Input should be greater than or equal"),
        (b'{"prompt": "\\ud800"}', "Invalid JSON"),
        (b'{"prompt": "x", "styles": [{"name": "a"}]}', "styles.0.te: Field required"),
        (b'{"prompt": "x", "styles": [{"name": "a", "te": NaN}]}', "should be a finite number"),
        (
            b'{"prompt": "x", "styles": [{"name": "a", "te": 1}, {"name": "a", "te": 1}]}',
            "names a style twice",
        ),
    ],
)
def test_a_bad_encode_body(client: httpx.Client, body: bytes, complaint: str) -> None:
    response = client.post("/v1/encode", content=body, headers=JSON)
    assert complaint in problem(response, 422, "invalid-request")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "request body: is empty"),
        (b"PK\x03\x04 pickle", "is a Python pickle"),
        (dump_tensors({"latents": latents(1, 4, 6, 8)}, {})[:-9], "is cut short"),
        (dump_tensors({"z": latents(1, 4, 6, 8)}, {}), "holds z - send one float32 tensor"),
        (dump_tensors({"latents": latents(2, 4, 6, 8)}, {}), "latents are float32 [2, 4, 6, 8]"),
        (dump_tensors({"latents": latents(1, 3, 6, 8)}, {}), "latents are float32 [1, 3, 6, 8]"),
        (dump_tensors({"latents": latents(4, 8)}, {}), "latents are float32 [4, 8]"),
        (dump_tensors({"latents": np.ones((1, 4, 2, 2), np.int64)}, {}), "latents are int64"),
        (dump_tensors({"latents": latents(1, 4, 33, 2)}, {}), "would be 16x264 pixels"),
    ],
)
def test_a_bad_decode_body(client: httpx.Client, body: bytes, complaint: str) -> None:
    response = client.post("/v1/decode", content=body, headers=TENSORS)
    assert complaint in problem(response, 400, "bad-file")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "does not open as a picture"),
        (b"GIF89a", "does not open as a picture"),
        (picture("png")[:500], "does not open as a picture"),
        (picture("bmp"), "does not open as a picture"),
        (picture("png", size=(264, 8)), "the picture has 264x8 pixels"),
        (huge_picture(), "the picture has far too many pixels - stay within 256x256"),
    ],
)
def test_a_bad_picture(client: httpx.Client, body: bytes, complaint: str) -> None:
    response = client.post("/v1/encode-image", content=body, headers=BYTES)
    assert complaint in problem(response, 400, "bad-file")


def test_a_picture_of_odd_size_says_what_would_fit(client: httpx.Client) -> None:
    body = picture("png", size=(60, 48))
    response = client.post("/v1/encode-image", content=body, headers=BYTES)
    detail = problem(response, 422, "brushlet-error")
    assert "make both sides multiples of 8" in detail


def test_a_body_that_is_too_large(client: httpx.Client) -> None:
    content = b'{"prompt": "' + b"x" * 3000 + b'"}'
    declared = client.post("/v1/encode", content=content, headers=JSON)
    detail = problem(declared, 413, "too-large")
    assert "larger than 2000 bytes" in detail
    assert "higher --max-prompt-bytes" in detail
    chunked = client.post("/v1/encode", content=iter([content]), headers=JSON)
    assert "larger than 2000 bytes" in problem(chunked, 413, "too-large")


def test_a_body_of_another_kind(client: httpx.Client) -> None:
    response = client.post("/v1/encode", data={"prompt": "x"})
    detail = problem(response, 415, "wrong-media-type")
    assert "send application/json" in detail


@pytest.mark.parametrize("path", ["/v1/encode", "/v1/decode", "/v1/encode-image"])
def test_a_body_of_no_kind_is_refused(client: httpx.Client, path: str) -> None:
    """A browser sends it to any site without asking there first."""
    response = client.post(path, content=b'{"prompt": "x"}')
    assert "Content-Type" not in response.request.headers
    detail = problem(response, 415, "wrong-media-type")
    assert "Content-Type: is missing - send application/" in detail or "send image/png" in detail


def test_a_body_that_drips_is_given_up(settings: Settings) -> None:
    hurried = settings.model_copy(update={"body_seconds": 1})
    with running(create_app(hurried)) as client:
        host, port = client.base_url.host, client.base_url.port
        assert port
        head = f"POST /v1/encode HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((host, port), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: 900\r\n\r\n".encode())
            for _ in range(100):
                if select.select([connection], [], [], 0.1)[0]:
                    break
                connection.sendall(b" ")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))  # until it hangs up
        assert answer.startswith(b"HTTP/1.1 408"), answer[:200]
        assert b"urn:brushlet:slow-body" in answer
        assert b"did not arrive within 1 s" in answer
        assert b"--body-seconds" in answer


def test_a_bad_query(client: httpx.Client) -> None:
    body = dump_tensors({"latents": latents(1, 4, 2, 2)}, {})
    response = client.post("/v1/decode?format=gif", content=body, headers=TENSORS)
    assert "query.format" in problem(response, 422, "invalid-request")


def test_unknown_paths_and_wrong_methods(client: httpx.Client) -> None:
    for path in ("/v1/nothing", "/bundle/nothing.bin", "/docs", "/redoc"):
        assert "/openapi.json lists" in problem(client.get(path), 404, "not-found")
    wrong = client.get("/v1/encode")
    problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"] == "POST"
    problem(client.post("/v1/styles"), 405, "method-not-allowed")
    problem(client.put("/bundle/manifest.json"), 405, "method-not-allowed")
    problem(client.delete("/"), 405, "method-not-allowed")

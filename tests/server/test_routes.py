import io
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from runtime.tensors import dump_tensors, parse_tensors
from tests.server.conftest import problem

JSON = {"Content-Type": "application/json"}
TENSORS = {"Content-Type": "application/x-safetensors"}


def latents(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.18, shape).astype(np.float32)


def picture(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, lossless=True)
    return file.getvalue()


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
    assert metadata == {"prompt_tokens_cut": "0", "negative_prompt_tokens_cut": "0"}


def test_encode_says_how_much_was_cut(client: httpx.Client) -> None:
    response = client.post("/v1/encode", json={"prompt": "x " * 100})
    _, metadata = parse_tensors(response.content, "answer")
    assert metadata["prompt_tokens_cut"] == "25"  # 77 less start and end


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


def test_jpeg_and_transparency_are_read(client: httpx.Client) -> None:
    for body in (picture("jpeg"), picture("png", mode="RGBA"), picture("png", mode="L")):
        response = client.post("/v1/encode-image", content=body)
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
        (b'{"prompt": "\\ud800"}', "Invalid JSON"),
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
    ],
)
def test_a_bad_picture(client: httpx.Client, body: bytes, complaint: str) -> None:
    response = client.post("/v1/encode-image", content=body)
    assert complaint in problem(response, 400, "bad-file")


def test_a_picture_of_odd_size_says_what_would_fit(client: httpx.Client) -> None:
    response = client.post("/v1/encode-image", content=picture("png", size=(60, 48)))
    detail = problem(response, 422, "brushlet-error")
    assert "make both sides multiples of 8" in detail


def test_a_body_that_is_too_large(client: httpx.Client) -> None:
    content = b'{"prompt": "' + b"x" * 3000 + b'"}'
    declared = client.post("/v1/encode", content=content, headers=JSON)
    assert "larger than 2000 bytes" in problem(declared, 413, "too-large")
    chunked = client.post("/v1/encode", content=iter([content]), headers=JSON)
    assert "larger than 2000 bytes" in problem(chunked, 413, "too-large")


def test_a_body_of_another_kind(client: httpx.Client) -> None:
    response = client.post("/v1/encode", data={"prompt": "x"})
    detail = problem(response, 415, "wrong-media-type")
    assert "send application/json" in detail


def test_a_bad_query(client: httpx.Client) -> None:
    body = dump_tensors({"latents": latents(1, 4, 2, 2)}, {})
    response = client.post("/v1/decode?format=gif", content=body, headers=TENSORS)
    assert "query.format" in problem(response, 422, "invalid-request")


def test_unknown_paths_and_wrong_methods(client: httpx.Client) -> None:
    assert "/docs" in problem(client.get("/v1/nothing"), 404, "not-found")
    assert "/docs" in problem(client.get("/bundle/nothing.bin"), 404, "not-found")
    wrong = client.get("/v1/encode")
    problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"] == "POST"
    problem(client.post("/v1/styles"), 405, "method-not-allowed")
    problem(client.put("/bundle/manifest.json"), 405, "method-not-allowed")
    problem(client.delete("/"), 405, "method-not-allowed")

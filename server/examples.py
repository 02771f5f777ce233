"""Requests that work and answers that come, for the OpenAPI page."""

from pydantic import JsonValue

ENCODE = """\
```sh
curl --fail-with-body -H 'Content-Type: application/json' \\
  -d '{"prompt": "miyazaki style, a (castle:1.2), clouds, green hills, day", "clip_skip": 1}' \\
  -o prompt.safetensors http://127.0.0.1:8000/v1/encode
```
"""

ENCODE_IMAGE = """\
```sh
curl --fail-with-body -H 'Content-Type: image/png' --data-binary @castle.png \\
  -o latents.safetensors http://127.0.0.1:8000/v1/encode-image
```
"""

DECODE = """\
```sh
curl --fail-with-body -H 'Content-Type: application/x-safetensors' \\
  --data-binary @latents.safetensors -o picture.png http://127.0.0.1:8000/v1/decode
```

From a picture to latents and back, in Python:

```python
from pathlib import Path

import httpx
from safetensors.numpy import load, save

with httpx.Client(base_url="http://127.0.0.1:8000", timeout=60) as server:
    encoded = server.post(
        "/v1/encode-image",
        content=Path("castle.png").read_bytes(),
        headers={"Content-Type": "image/png"},
    ).raise_for_status()
    latents = load(encoded.content)["latents"]  # float32 [1, C, h, w]
    decoded = server.post(
        "/v1/decode?format=webp",
        content=save({"latents": latents}),
        headers={"Content-Type": "application/x-safetensors"},
    ).raise_for_status()
Path("picture.webp").write_bytes(decoded.content)
```
"""

TXT2IMG = """\
```sh
curl --fail-with-body -H 'Content-Type: application/json' \\
  -d '{"prompt": "a castle, clouds, green hills, day", "seed": 7, "steps": 20}' \\
  -o drawn.png http://127.0.0.1:8000/v1/txt2img
```
"""

READY: dict[str, JsonValue] = {
    "status": "ready",
    "bundle": "base",
    "base_hash": "e9ca75cb64f7849210410d9f7a6885d24944a3e4da88219abf1cf3be70d4d703",
    "styles": 3,
}

# Fields that are null are left out: FastAPI drops them from examples.
STYLES = [
    {
        "name": "miyazaki",
        "title": "Miyazaki",
        "kind": "external",
        "trigger_words": ["miyazaki style"],
        "description": "Saturated hand-painted greens, huge cumulus, soft brush texture.",
        "negative_prompt": "",
        "license": "Apache-2.0",
        "rank": 8,
        "models": ["unet"],
        "strength": {"default": 0.8, "min": 0.0, "max": 1.5},
        "pack": {
            "url": "styles/pack-miyazaki-d8f8fa4389c393ec.safetensors",
            "bytes": 441376,
            "sha256": "d8f8fa4389c393eca23caaa9f7de69e515e2aa8ca3d0370f0c0a6b485a3cd1ab",
        },
        "thumbnail": {
            "url": "styles/thumb-miyazaki-a501bb39b3bb1460.png",
            "bytes": 23710,
            "sha256": "a501bb39b3bb146056455200d4623bf08e7fa2a309546f4befe581499e4b9c7d",
        },
        "examples": [
            {
                "url": "styles/example-miyazaki-1e516aaa1ab2442c.webp",
                "bytes": 2828,
                "sha256": "1e516aaa1ab2442c6d1360dcac3d96e6f67ccc06610648229f9465b21e35b5fa",
            }
        ],
        "templates": [
            {
                "title": "windmill meadow",
                "titles": {"zh": "花田风车"},
                "prompt": "{trigger}, a windmill, clouds, flower meadow, day",
                "negative_prompt": "",
            }
        ],
        "source_sha256": "a3bc183620087f42fcf6bcfcfff8ea8574a3c197f4ff0828c159edf8697c885f",
        "parity": [
            {
                "what": "miyazaki: pack = file",
                "error": 0.0,
                "cosine": 1.0,
                "tolerance": 0.005,
            }
        ],
    }
]

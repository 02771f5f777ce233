"""Which headers belong to which file: the server sends them, a published site carries them."""

import re
from pathlib import PurePosixPath

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

BUNDLE_HASHED = re.compile(r"-[0-9a-f]{16}\.[a-z]+$")
"""`runtime.files.hashed_name`."""
PAGE_HASHED = re.compile(r"^(assets/.*-[A-Za-z0-9_-]{8}\.[a-z0-9]+|ort-[0-9a-f]{16}/.*)$")
"""Vite's default for built files, and the folder that `exporter.publish` renames by its content.
Others (index.html, the service worker, `ort/` as built) keep their names."""

ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""A page is given WebAssembly threads only when it is cross-origin isolated."""

BINARY = "application/octet-stream"
MEDIA_TYPES = {
    ".bin": BINARY,
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".onnx": BINARY,
    ".png": "image/png",
    ".safetensors": BINARY,
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""Python's own table is the operating system's, and a wrong .wasm type stops a browser."""


def media_type(name: str) -> str:
    """The type for a file's suffix, without a charset."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix, BINARY)


def cache_control(name: str, hashed: re.Pattern[str]) -> str:
    """For ever where `hashed` says that the name changes with the content."""
    return IMMUTABLE if hashed.search(name) else REVALIDATE


def common_headers(*, shared: bool) -> dict[str, str]:
    """What every answer carries; `shared`: pages of other origins may embed the files."""
    return {
        **ISOLATION,
        "Cross-Origin-Resource-Policy": "cross-origin" if shared else "same-origin",
        "X-Content-Type-Options": "nosniff",
    }

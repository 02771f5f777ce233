import pytest

from runtime.files import hashed_name
from runtime.headers import (
    BUNDLE_HASHED,
    IMMUTABLE,
    PAGE_HASHED,
    REVALIDATE,
    cache_control,
    common_headers,
    media_type,
)


def test_a_hashed_name_is_kept_for_ever() -> None:
    name = hashed_name("styles/pack-a", ".safetensors", "0123456789abcdef" * 4)
    assert cache_control(name, BUNDLE_HASHED) == IMMUTABLE
    assert cache_control("manifest.json", BUNDLE_HASHED) == REVALIDATE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("assets/index-Ab_-0123.js", IMMUTABLE),
        ("ort-0123456789abcdef/ort-wasm-simd-threaded.wasm", IMMUTABLE),
        ("ort/ort-wasm-simd-threaded.wasm", REVALIDATE),
        ("index.html", REVALIDATE),
        ("sw.js", REVALIDATE),
        ("other/assets/index-Ab_-0123.js", REVALIDATE),
    ],
)
def test_the_pages_files(name: str, expected: str) -> None:
    assert cache_control(name, PAGE_HASHED) == expected


def test_types_are_our_own() -> None:
    assert media_type("a/b.wasm") == "application/wasm"
    assert media_type("x.mjs") == "text/javascript"
    assert media_type("pack.unknown") == "application/octet-stream"


def test_only_shared_files_may_be_embedded_elsewhere() -> None:
    policy = "Cross-Origin-Resource-Policy"
    assert common_headers(shared=True)[policy] == "cross-origin"
    assert common_headers(shared=False)[policy] == "same-origin"

import re
from collections.abc import Callable
from pathlib import Path

from runtime.headers import IMMUTABLE, MEDIA_TYPES, REVALIDATE
from tests.exporter.sites import publish
from tests.exporter.test_staging import listing


def rules_of(text: str) -> dict[str, dict[str, str]]:
    rules: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("/"):
            rules[line] = {}
            rule = rules[line]
        elif line.startswith("  "):
            name, value = line.strip().split(": ", 1)
            rule[name] = value
    return rules


def test_static_hosts_are_told_each_header_once(
    dist: Path, page: Path, site: Path, add_style: Callable[[str], None]
) -> None:
    publish(dist, page, site, allow_origin="https://other.test")
    text = (site / "_headers").read_text()
    rules = rules_of(text)
    assert len(rules) <= 100
    assert all(rule.count("*") <= 1 for rule in rules)
    for name in [*listing(site), ""]:
        if name.endswith((".br", ".gz")) or name in ("_headers", "nginx.conf"):
            continue
        headers: dict[str, str] = {}
        for rule, values in rules.items():
            if re.fullmatch(re.escape(rule).replace(r"\*", ".*"), f"/{name}"):
                assert not headers.keys() & values.keys(), (name, rule)
                headers |= values
        mutable = ("", "index.html", "sw.js", "favicon.svg", "bundle/manifest.json")
        assert headers["Cache-Control"] == (REVALIDATE if name in mutable else IMMUTABLE), name
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert headers["Access-Control-Allow-Origin"] == "https://other.test"
        if name.endswith((".mjs", ".wasm", ".onnx", ".safetensors", ".bin")):
            assert headers["Content-Type"] == MEDIA_TYPES[Path(name).suffix]
    add_style("late")
    publish(dist, page, site, allow_origin="https://other.test")
    assert (site / "_headers").read_text() == text

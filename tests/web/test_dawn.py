"""WebGPU without a browser, through Dawn for Node: on a real GPU, or on Mesa's lavapipe, which has
16-bit shaders where SwiftShader has none. Nothing else here computes in fp16 as a browser does."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

_WEB = Path(__file__).parents[2] / "web"
_MISSING = 3  # dawn.mjs: no Dawn, or no adapter
# The promise is 5e-3, and the engine takes fp32 where it is missed. lavapipe, which adds up in 16
# bits, misses it: 6.8e-3 (JSEP) and 8.6e-3 (native) on the tiny model, 5.8e-3 to 7.0e-3 on the
# embedded one. It is let draw here, so that a graph that goes really wrong is told from that.
_FP16 = 1e-2


@pytest.fixture(scope="module")
def lines(tiny_bundle: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What `dawn.mjs` measured, by provider and precision."""
    command = ["node", "tests/browser/dawn.mjs", "--bundle", str(tiny_bundle), "--steps", "3"]
    command += ["--fp16-tolerance", str(_FP16)]
    done = subprocess.run(
        command, cwd=_WEB, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode == _MISSING:
        pytest.skip(f"WebGPU in fp16 is not measured. {done.stderr.strip().splitlines()[-1]}")
    adapter, *found = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
    if not adapter["adapter"]["shaderF16"]:
        device = adapter["adapter"]["description"]
        pytest.skip(f"WebGPU in fp16 is not measured. This adapter has no 16-bit shaders: {device}")
    assert found, done.stderr
    return {(line["provider"], line["compute"]): line for line in found}


@pytest.mark.parametrize("provider", ["webgpu", "jsep"])
def test_fp32_draws_wasms_picture(provider: str, lines: dict[Any, dict[str, Any]]) -> None:
    assert lines[provider, "fp32"]["fromWasm"] <= 1e-5


@pytest.mark.parametrize("provider", ["webgpu", "jsep"])
def test_fp16_is_within_twice_the_promise(provider: str, lines: dict[Any, dict[str, Any]]) -> None:
    """lavapipe misses the promise itself, 5e-3 (see `_FP16`); there the engine takes fp32."""
    assert lines[provider, "fp16"]["error"] <= _FP16
    assert lines[provider, "fp16"]["fromWasm"] <= 2e-2  # measured: 7.5e-3 and 8.2e-3

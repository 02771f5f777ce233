import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from runtime.manifest import FileRef, SamplerTable, SlotTable, file_refs, json_schema

GOOD = {"bytes": 1, "sha256": "0" * 64}


@pytest.mark.parametrize("url", ["a.onnx", "styles/pack-a_1.safetensors"])
def test_files_lie_inside_the_bundle(url: str) -> None:
    assert FileRef(url=url, **GOOD).url == url


@pytest.mark.parametrize(
    "url",
    ["../a", "/etc/passwd", "a/../b", "a//b", ".hidden", "http://x", "a?b", "a\nb", "a\\b", ""],
)
def test_files_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        FileRef(url=url, **GOOD)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        SlotTable.model_validate({"slot_set": "attn", "slots": [], "more": 1})


def test_a_run_over_a_picture_may_begin_with_any_step() -> None:
    step = {"timestep": 1, "input": [["x", 0, 1]], "next": [["x", 0, 1]], "noise": False}
    restart = {"image": 1, "noise": 1}
    whole = {"start_scale": 1, "steps": [step, step], "restarts": [restart, restart]}
    assert len(SamplerTable.model_validate(whole).restarts) == 2
    with pytest.raises(ValidationError, match="1 restarts for 2 steps"):
        SamplerTable.model_validate(whole | {"restarts": [restart]})


def test_files_are_found_however_deep() -> None:
    refs = [FileRef(url=f"{name}.bin", **GOOD) for name in "abc"]
    assert list(file_refs({"x": [refs[0]], "y": {"z": refs[1:]}})) == refs


def test_the_schema_is_printed_for_the_web() -> None:
    command = [sys.executable, "-m", "runtime.manifest"]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert json.loads(printed) == json_schema()
    assert {"Manifest", "SlotTable", "SamplerTables"} <= set(json_schema()["$defs"])

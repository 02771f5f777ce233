"""Tables of a schedule are computed once, and again when anything they depend on has changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from exporter import sampler_cache, samplers
from exporter.sampler_cache import sampler_tables
from runtime.files import cache_folder
from runtime.manifest import SamplerTables


@pytest.fixture
def computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the samplers whose tables were computed, of up to three steps."""
    names: list[str] = []
    original = samplers.sampler_tables

    def counted(name: str, *options: Any) -> SamplerTables:
        names.append(name)
        return original(name, *options)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(samplers, "sampler_tables", counted)
    monkeypatch.setattr(samplers, "MAX_STEPS", 3)
    return names


@pytest.fixture
def config(tiny_base: Path) -> dict[str, object]:
    return json.loads((tiny_base / "scheduler" / "scheduler_config.json").read_text())


def kept() -> list[Path]:
    return sorted((cache_folder() / "samplers").iterdir())


def test_the_second_time_they_are_read(computed: list[str], config: dict[str, object]) -> None:
    shown: list[int] = []
    first, second = (sampler_tables("unipc", config, lambda: shown.append(1)) for _ in range(2))
    assert computed == ["unipc"]
    assert first == second
    assert len(shown) == 6


def test_another_schedule_or_code_has_its_own(
    computed: list[str], config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for own in (config, config | {"beta_end": 0.02}):
        sampler_tables("ddim", own, lambda: None)
    monkeypatch.setattr(sampler_cache.diffusers, "__version__", "another")
    sampler_tables("ddim", config, lambda: None)
    assert len(computed) == len(kept()) == 3


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"name": "ddim", "tables": {}}'])
def test_a_damaged_one_is_computed_again(
    damage: bytes, computed: list[str], config: dict[str, object]
) -> None:
    first = sampler_tables("ddim", config, lambda: None)
    [path] = kept()
    path.write_bytes(damage)
    assert sampler_tables("ddim", config, lambda: None) == first
    assert sampler_tables("ddim", config, lambda: None) == first
    assert len(computed) == 2


def test_where_nothing_can_be_kept_they_are_there_all_the_same(
    computed: list[str],
    config: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert sampler_tables("ddim", config, lambda: None).tables.keys() == {"1", "2", "3"}

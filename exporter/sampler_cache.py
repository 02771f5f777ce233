"""Sampler tables computed before: a schedule has the same ones in every base."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import diffusers
from pydantic import ValidationError

from exporter import samplers, unit_runs
from exporter.staging import dump
from runtime.files import cache_folder, cache_key, write_whole
from runtime.manifest import SamplerTables


def sampler_tables(
    name: str, config: Mapping[str, Any], on_table: Callable[[], None]
) -> SamplerTables:
    """As `samplers.sampler_tables` for every number of steps, from the cache where they are there.

    A cache that is damaged or cannot be written costs time, nothing else.
    """
    path = cache_folder() / "samplers" / f"{name}-{_key(name, config)}.json"
    known = _read(path)
    if known is not None:
        for _ in known.tables:
            on_table()
        return known
    tables = samplers.sampler_tables(name, config, _step_counts(), on_table)
    with suppress(OSError):
        write_whole(path, dump(tables, exclude_defaults=True))
    return tables


def _read(path: Path) -> SamplerTables | None:
    try:
        tables = SamplerTables.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    whole = {str(steps) for steps in _step_counts()}
    return tables if tables.tables.keys() == whole else None


def _step_counts() -> range:
    return range(1, samplers.MAX_STEPS + 1)


def _key(name: str, config: Mapping[str, Any]) -> str:
    """Of all that tables depend on: the schedule, diffusers, and the code that asks it."""
    code = [inspect.getsource(module) for module in (samplers, unit_runs)]
    return cache_key([name, dict(config), diffusers.__version__, code])

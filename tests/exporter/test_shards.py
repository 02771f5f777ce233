from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.shards import ALIGNMENT, Place, Shards
from exporter.staging import Stage, staging
from runtime.files import sha256_file
from runtime.tensors import Array


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staging(tmp_path) as stage:
        yield stage


def read(stage: Stage, place: Place) -> Array:
    data = (stage.folder / place.shard).read_bytes()[place.offset :][: place.length]
    return np.frombuffer(data, place.dtype).reshape(place.shape)


def arrays(*sizes: int) -> list[tuple[str, Array]]:
    random = np.random.default_rng(0)
    return [(f"w{i}", random.normal(size=n).astype(np.float16)) for i, n in enumerate(sizes)]


def test_arrays_are_read_back_from_their_places(stage: Stage) -> None:
    given = arrays(3, 1000, 7)
    places = Shards(stage).write(given)
    for name, array in given:
        assert places[name].offset % ALIGNMENT == 0
        np.testing.assert_array_equal(read(stage, places[name]), array)


def test_a_shard_ends_before_the_limit(stage: Stage) -> None:
    shards = Shards(stage, limit=5000)
    given = arrays(1000, 1000, 1000, 4000, 10)
    places = shards.write(given)
    assert [ref.bytes for ref in shards.files.values()] == [4048, 2000, 8000, 20]
    assert places["w0"].shard == places["w1"].shard != places["w2"].shard
    for name, array in given:
        np.testing.assert_array_equal(read(stage, places[name]), array)


def test_equal_bytes_are_stored_once_across_groups(stage: Stage) -> None:
    shards = Shards(stage)
    ((_, array),) = arrays(100)
    first = shards.write([("a", array), ("b", array)])
    second = shards.write([("c", array.reshape(10, 10))])
    assert len(shards.files) == 1
    assert first["a"] == first["b"]
    assert (second["c"].shard, second["c"].offset) == (first["a"].shard, first["a"].offset)
    assert second["c"].shape == (10, 10)


def test_shards_carry_their_hash_and_can_be_served(stage: Stage) -> None:
    shards = Shards(stage)
    shards.write(arrays(10))
    ((name, ref),) = shards.files.items()
    path = stage.folder / name
    assert sha256_file(path) == ref.sha256
    assert ref.sha256[:16] in name
    assert path.stat().st_mode & 0o777 == 0o644


def test_nothing_writes_no_shard(stage: Stage) -> None:
    assert Shards(stage).write([]) == {}
    assert not list(stage.folder.iterdir())

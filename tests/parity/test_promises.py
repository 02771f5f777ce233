"""The promises hold. `make parity` prints the same comparisons as a table."""

import pytest

from tests.parity.comparisons import COMPARISONS
from tests.parity.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("parity"))


@pytest.mark.parametrize("name", COMPARISONS)
def test_promises_are_kept(name: str, world: World) -> None:
    measured = list(COMPARISONS[name](world))
    assert measured
    broken = [str(item) for item in measured if not item.kept]
    assert not broken, "\n".join(broken)

"""Loading in a real Chromium with its real storage, from a server that fails as it is told."""

from pathlib import Path

import pytest

from tests.pages import promises


@pytest.fixture(scope="module")
def told(tiny_bundle: Path) -> dict[str, str]:
    """What `web/tests/browser/loading.mjs` says of each promise of loading: name -> line."""
    return promises("browser/loading.mjs", "--bundle", str(tiny_bundle))


@pytest.mark.parametrize(
    "promise",
    [
        "the first visit stores everything, the second downloads nothing",
        "a visit without a network opens what the last one left",
        "a shard whose tab was closed goes on where it was",
        "a connection that drops is taken up again",
        "a shard that changed on the server meanwhile begins anew",
        "a damaged stored shard is fetched again, alone",
        "too little room is seen before the download",
        "a small quota that the browser did not tell of costs the storing alone",
        "a disk that fills up half-way costs no byte twice",
        "without OPFS files go to Cache Storage",
        "without any store, and on an insecure page, it works from memory",
        "two tabs download once; the one that waits says so",
        "without locks a file is whole for the other tab when it is, and stays so",
        "without locks two tabs work all the same",
        "what is stored is listed, by bundle and style, and shared",
        "removing a style or a bundle breaks no tab that has it open",
        "what a tab is loading is not removed",
    ],
)
def test_loading_keeps_its_promises(promise: str, told: dict[str, str]) -> None:
    assert told.get(promise, "").startswith("kept "), told["all"]

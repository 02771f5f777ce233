"""What is not published, and what is said of it."""

import fcntl
import os
from pathlib import Path

import pytest

from runtime.errors import BadFile, BrushletError
from runtime.files import write_whole
from tests.exporter.sites import publish, stamps
from tests.exporter.test_export import command


def test_a_damaged_bundle_is_not_published(dist: Path, page: Path, site: Path) -> None:
    publish(dist, page, site)
    before = stamps(site)
    pack = next((dist / "styles").glob("pack-*"))
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    write_whole(pack, bytes(data))
    with pytest.raises(BadFile, match="altered"):
        publish(dist, page, site)
    assert stamps(site) == before


def test_a_bundle_that_is_being_written_is_not_published(
    dist: Path, page: Path, site: Path
) -> None:
    handle = os.open(dist, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(BrushletError, match="an export is writing here"):
        publish(dist, page, site)
    os.close(handle)
    publish(dist, page, site)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"server": "paint.test"}, "--server.*paint.test"),
        ({"server": "ftp://paint.test"}, "--server"),
        ({"allow_origin": "https://a.test/page"}, "--allow-origin"),
        ({"allow_origin": 'https://a"; evil'}, "--allow-origin"),
    ],
)
def test_wrong_settings_are_named(
    settings: dict[str, str], names: str, dist: Path, page: Path, site: Path
) -> None:
    with pytest.raises(BrushletError, match=names):
        publish(dist, page, site, **settings)
    assert not site.exists()


def test_bundle_page_and_site_are_folders_of_their_own(dist: Path, page: Path) -> None:
    for out in (dist, dist / "site", page / "site", dist.parent):
        with pytest.raises(BrushletError, match="--out"):
            publish(dist, page, out)


def test_a_page_that_is_not_built_is_said(dist: Path, page: Path, site: Path) -> None:
    (page / "index.html").write_text("<title>old</title>")
    with pytest.raises(BadFile, match=r"brushlet-server.*make page"):
        publish(dist, page, site)
    with pytest.raises(BadFile, match="make page"):
        publish(dist, page / "none", site)


def test_a_full_disk_is_one_line(dist: Path, page: Path, small_disk: Path) -> None:
    with (small_disk / "filler").open("wb") as file:
        file.truncate(0)
        file.write(b"x" * (900 << 10))
    out = small_disk / "site"
    done = command("dist", "--bundle", dist, "--page", page, "--out", out, "--quality", 1)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_service_worker_of_another_build_is_said(dist: Path, page: Path, site: Path) -> None:
    (page / "sw.js").write_text("addEventListener('fetch', () => {});")
    with pytest.raises(BadFile, match=r"index\.html.*make page"):
        publish(dist, page, site)

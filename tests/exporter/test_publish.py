import gzip
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest

from exporter import publish as publishing
from exporter.publish_compress import WORTH
from exporter.publish_report import wire_bytes
from exporter.staging import read_manifest
from runtime.bundle import Bundle
from runtime.files import write_whole
from runtime.manifest import Manifest, file_refs
from tests.exporter.sites import SCRIPT, build_page, publish, revision, stamps
from tests.exporter.test_staging import listing


def decoded(path: Path) -> bytes:
    unpack = {".br": brotli.decompress, ".gz": gzip.decompress}
    return unpack.get(path.suffix, bytes)(path.read_bytes())


def assert_works(site: Path) -> Manifest:
    """Whatever encoding a visitor takes, everything that is referred to is there and sound."""
    found = listing(site)
    for name in found:
        plain = re.sub(r"\.(br|gz)$", "", name)
        # A copy comes and goes before its file; one of a changing file is looked into below, and
        # of the service worker either version works.
        changing = (".html", "manifest.json", "sw.js")
        if plain != name and plain in found and not plain.endswith(changing):
            assert decoded(site / name) == found[plain], name
    for encoding in ("", ".br", ".gz"):
        text = decoded(site / f"bundle/manifest.json{encoding}")
        for ref in file_refs(Manifest.model_validate_json(text)):
            assert len(found[f"bundle/{ref.url}"]) == ref.bytes
        index = site / f"index.html{encoding}"
        html = decoded(index if index.exists() else site / "index.html").decode()
        script, runtime = re.search(r'src="./(.*?)"', html), re.search(r'"(ort-.*?/)"', html)
        assert script
        assert script[1] in found
        assert runtime
        assert sum(name.startswith(runtime[1]) and "." in name for name in found) >= 6
    Bundle.open(site / "bundle").verify()
    return Bundle.open(site / "bundle").manifest


def test_a_site_has_bundle_and_page(dist: Path, page: Path, site: Path) -> None:
    report = publish(dist, page, site, server="https://paint.test/a")
    assert assert_works(site) == read_manifest(dist)
    found = listing(site)
    for name, data in listing(dist).items():
        if name == "report.json":  # for who exports, not for visitors
            assert f"bundle/{name}" not in found
            continue
        assert found[f"bundle/{name}"] == data
        if name != "manifest.json":
            assert (site / "bundle" / name).samefile(dist / name)
    html = found["index.html"].decode()
    assert '"brushlet-server" content="https://paint.test/a/"' in html
    assert '"brushlet-isolate" content="auto"' in html
    assert not any(name.startswith("ort/") for name in found)
    assert set(report.added) == set(found)
    assert not report.changed
    assert not report.removed


def test_isolation_may_be_off(dist: Path, page: Path, site: Path) -> None:
    publish(dist, page, site, isolate=False)
    assert '"brushlet-isolate" content="off"' in (site / "index.html").read_text()


def test_copies_are_kept_where_they_save_a_tenth(dist: Path, page: Path, site: Path) -> None:
    publish(dist, page, site)
    found = listing(site)
    for name, data in found.items():
        for end in (".br", ".gz"):
            if copy := found.get(name + end):
                assert len(copy) <= WORTH * len(data), name
    text = [name for name in found if name.endswith((".onnx", ".wasm", ".mjs", ".js", "ger.json"))]
    assert len(text) > 10
    for name in [*text, "bundle/manifest.json"]:
        assert {name + ".br", name + ".gz"} <= found.keys()
    packed = [name for name in found if re.search(r"(weights|golden|thumb).*\.(br|gz)$", name)]
    assert packed == []


def test_again_changes_nothing(dist: Path, page: Path, site: Path) -> None:
    publish(dist, page, site)
    before = stamps(site)
    build_page(page)  # built again, of the same source
    report = publish(dist, page, site)
    assert stamps(site) == before
    assert (report.added, report.changed, report.removed) == ([], [], [])
    assert set(report.visit.returning.values()) == {0}


def test_without_hard_links_too(
    dist: Path, page: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    publish(dist, page, site)
    before = stamps(site)
    assert not (site / "bundle" / Bundle.open(dist).files()[0].url).samefile(
        dist / Bundle.open(dist).files()[0].url
    )
    publish(dist, page, site)
    assert stamps(site) == before
    assert_works(site)


def test_another_style_changes_the_manifest_alone(
    dist: Path, page: Path, site: Path, add_style: Callable[[str], None]
) -> None:
    publish(dist, page, site)
    before = stamps(site)
    add_style("late")
    report = publish(dist, page, site)
    after = stamps(site)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {f"bundle/manifest.json{end}" for end in ("", ".br", ".gz")}
    assert changed == set(report.changed)
    added = after.keys() - before.keys()
    assert added == set(report.added)
    stems = {re.sub(r"-[0-9a-f]{16}\.\w+(\.br|\.gz)?$", "", name) for name in added}
    assert stems == {"bundle/styles/pack-late", "bundle/styles/thumb-late"}
    assert report.removed == []

    def wire(start: str) -> int:
        plain = [n for n in after if n.startswith(start) and not n.endswith((".br", ".gz"))]
        return sum(wire_bytes(report.sizes, name) for name in plain)

    pack, thumb = wire("bundle/styles/pack-late"), wire("bundle/styles/thumb-late")
    manifest = (site / "bundle/manifest.json.br").stat().st_size
    assert set(report.visit.returning.values()) == {manifest + thumb}
    assert set(report.visit.styles["late"].values()) == {pack}
    assert report.visit.new["wasm"] > 100 * report.visit.returning["wasm"] > 0


def test_what_is_no_longer_referred_to_goes_and_what_others_put_there_stays(
    dist: Path, page: Path, site: Path
) -> None:
    publish(dist, page, site)
    own = ["CNAME", "robots.txt", ".well-known/token", "about/index.html", "assets/logo.png"]
    for name in own:
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text("mine")
    old = Bundle.open(dist).manifest
    write_whole(
        dist / "manifest.json",
        old.model_copy(update={"styles": old.styles[:1], "unet": old.unet[:1]})
        .model_dump_json()
        .encode(),
    )
    build_page(page, script="index-zzzzzzzz.js", runtime="two")
    report = publish(dist, page, site)
    manifest = assert_works(site)
    found = listing(site)
    assert set(own) <= found.keys()
    assert f"assets/{SCRIPT}" in report.removed
    assert f"assets/{SCRIPT}" not in found
    assert len({name.split("/")[0] for name in found if name.startswith("ort-")}) == 1
    assert len([path for path in site.iterdir() if path.name.startswith("ort-")]) == 1
    bundle = {f"bundle/{ref.url}" for ref in file_refs(manifest)}
    assert not any("wobble" in name or "merged" in name for name in found)
    assert {name for name in found if name.startswith("bundle/weights")} <= bundle


def test_an_interrupt_at_any_moment_leaves_a_site_that_works(
    dist: Path,
    page: Path,
    site: Path,
    tmp_path: Path,
    add_style: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_style("early")
    publish(dist, page, site)
    old = Bundle.open(dist).manifest
    left = [style for style in old.styles if style.name != "early"]
    smaller = old.model_copy(update={"styles": left})
    write_whole(dist / "manifest.json", smaller.model_dump_json().encode())
    add_style("late")
    build_page(page, script="index-zzzzzzzz.js", runtime="two")
    real_move, real_unlink = publishing._move, Path.unlink
    new = Bundle.open(dist).manifest

    def interrupted(out: Path, moments: int) -> bool:
        """Publishes, with an interrupt after so many moves and removals."""
        left = moments

        def moment() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        def move(source: Path, target: Path) -> None:
            moment()
            real_move(source, target)

        def unlink(path: Path, missing_ok: bool = False) -> None:
            if path.is_relative_to(out) and ".stage-" not in str(path):
                moment()
            real_unlink(path, missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(publishing, "_move", move)
            patch.setattr(Path, "unlink", unlink)
            try:
                publish(dist, page, out)
            except KeyboardInterrupt:
                return True
        return False

    moments = 0
    while True:
        out = shutil.copytree(site, tmp_path / f"out{moments}", copy_function=os.link)
        if not interrupted(out, moments):
            break
        assert assert_works(out) in (old, new), moments
        assert not list(out.glob(".stage-*"))
        if moments % 5 == 0:
            publish(dist, page, out)
            assert assert_works(out) == new
        moments += 1
    assert moments > 20
    expected = listing(out)
    assert not any("early" in name for name in expected)
    publish(dist, page, tmp_path / "clean")
    assert expected == listing(tmp_path / "clean")


def test_the_service_worker_changes_with_the_page(dist: Path, page: Path, site: Path) -> None:
    publish(dist, page, site)
    first = (site / "sw.js").read_text()
    assert revision((site / "index.html").read_text()) in first
    publish(dist, page, site, server="https://paint.test/")
    assert revision((site / "index.html").read_text()) in (site / "sw.js").read_text()
    assert (site / "sw.js").read_text() != first

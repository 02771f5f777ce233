"""A page in small, and sites as tests publish them."""

import hashlib
import shutil
from pathlib import Path

from exporter import publish as publishing
from exporter.progress import silent
from exporter.publish import SiteSettings
from exporter.publish_report import Report
from tests.exporter.test_staging import listing

INDEX = """<!doctype html><title>page</title>
<meta name="brushlet-server" content="" /><meta name="brushlet-runtime" content="" />
<meta name="brushlet-isolate" content="" />
<script src="./assets/{script}"></script>
"""
SCRIPT = "index-Ab_-0123.js"


def revision(index: str) -> str:
    """What the page's build writes into the service worker."""
    return f'{{"revision":"{hashlib.md5(index.encode()).hexdigest()}","url":"index.html"}}'


def build_page(folder: Path, script: str = SCRIPT, runtime: str = "one") -> Path:
    """What Vite builds, in small."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "assets").mkdir(parents=True)
    (folder / "ort").mkdir()
    index = INDEX.format(script=script)
    (folder / "index.html").write_text(index)
    (folder / "sw.js").write_text("addEventListener('fetch', () => {});" * 9 + revision(index))
    (folder / "favicon.svg").write_text("<svg>" + "<g/>" * 99 + "</svg>")
    (folder / "assets" / script).write_text(f"/* {script} */ paint();" * 99)
    for build in ("wasm", "webgpu", "all"):
        (folder / "assets" / f"ort.{build}.min-Zz_-9876.js").write_text(f"/* {build} */" * 99)
    for build in ("", ".asyncify", ".jsep"):
        stem = f"ort-wasm-simd-threaded{build}"
        (folder / "ort" / f"{stem}.mjs").write_text(f"/* {runtime} */" * 99)
        (folder / "ort" / f"{stem}.wasm").write_bytes(b"\0asm" + runtime.encode() * 999)
    return folder


def publish(dist: Path, page: Path, site: Path, **settings: object) -> Report:
    values = SiteSettings(**{"quality": 1, **settings})  # type: ignore[arg-type]
    return publishing.publish(dist, page, site, values, silent)


def stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, time of change and size of every file."""
    return {
        name: (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        for name, stat in ((name, (folder / name).stat()) for name in listing(folder))
    }

"""Bundle and page as one static folder, for a web server or a CDN.

A visitor sees the old site or the new one at every moment: what is named by its content comes
first, `index.html` and the manifest last, and what nothing refers to any more goes after them.
"""

import fcntl
import filecmp
import hashlib
import html
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from exporter.progress import Step
from exporter.publish_compress import ENCODINGS, compressed
from exporter.publish_headers import (
    BUNDLE,
    HEADERS_NAME,
    NGINX_NAME,
    cached,
    nginx_snippet,
    static_headers,
)
from exporter.publish_report import Report, visit
from exporter.staging import staging
from runtime.bundle import Bundle
from runtime.errors import BadFile, BrushletError
from runtime.files import link_or_copy, sha256_file
from runtime.headers import IMMUTABLE
from runtime.manifest import MANIFEST_NAME

INDEX = "index.html"
SERVICE_WORKER = "sw.js"
_RUNTIME = "ort/"  # where the page's build puts onnxruntime-web's files
_ORIGIN = re.compile(r"\*|https?://[^/\s\"]+")
_CLOUDFLARE_LIMIT = 25 << 20  # bytes of a file on Cloudflare Pages


@dataclass(frozen=True)
class SiteSettings:
    """What a site's owner decides."""

    server: str = ""
    """Address of the brushlet server; none: it answers beside the page."""
    allow_origin: str = ""
    """Another site whose pages may load the bundle, or `*` for any."""
    isolate: bool = True
    """Whether the service worker may isolate the page where the host sends no headers."""
    quality: int = 11
    """Brotli's, 0 to 11. 9 takes a tenth of the time; WebAssembly is then 16 % larger."""


def publish(bundle: Path, page: Path, out: Path, settings: SiteSettings, step: Step) -> Report:
    """Makes `out` the site of a bundle and a page, touching only what has changed.

    Files of the bundle are hard-linked where that can be done. Files that somebody else put into
    `out` stay, unless their names look like ours (`runtime.headers`).

    Raises:
        BadFile: the bundle is damaged, or the page is not built.
        BrushletError: a setting is wrong, somebody else writes, or the disk is full.
    """
    settings = _checked(settings)
    _keep_apart(bundle, page, out)
    with _reading(bundle):
        opened = Bundle.open(bundle)
        with step("verifying the bundle", len(opened.files())) as advance:
            opened.verify(lambda _done, _total: advance())
        files = _site(opened, page, settings)
        with staging(out) as stage:
            before = _listing(out)
            with step("compressing", len(files)) as advance:
                wanted: set[str] = set()
                for url, content in files.items():
                    wanted |= _stage(url, content, out, stage.folder, settings.quality)
                    advance()
            staged = [url for url in _in_order(wanted, files) if (stage.folder / url).exists()]
            for url in staged:
                _move(stage.folder / url, out / url)
            removed = _prune(out, wanted)
    sizes = {url: (out / url).stat().st_size for url in wanted}
    return Report(
        added=[url for url in staged if url not in before],
        changed=[url for url in staged if url in before],
        removed=removed,
        sizes=sizes,
        visit=visit(opened.manifest, sizes, staged),
        notes=list(_notes(sizes)),
    )


def _checked(settings: SiteSettings) -> SiteSettings:
    server = settings.server
    if server:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            todo = "give its whole address, for example https://paint.example/"
            raise BrushletError(f"{server!r} is no address", where="--server", todo=todo)
        server = server if server.endswith("/") else f"{server}/"
    if settings.allow_origin and not _ORIGIN.fullmatch(settings.allow_origin):
        todo = "give scheme and host, for example https://example.org, or * for any"
        what = f"{settings.allow_origin!r} is no origin"
        raise BrushletError(what, where="--allow-origin", todo=todo)
    return SiteSettings(server, settings.allow_origin, settings.isolate, settings.quality)


def _keep_apart(bundle: Path, page: Path, out: Path) -> None:
    site = out.resolve()
    for folder in (bundle.resolve(), page.resolve()):
        if site.is_relative_to(folder) or folder.is_relative_to(site):
            todo = "give the site a folder of its own with --out"
            raise BrushletError(f"lies inside {folder}, or around it", where=str(out), todo=todo)


@contextmanager
def _reading(bundle: Path) -> Iterator[None]:
    """Keeps exports from changing the bundle meanwhile (they lock it in `staging`)."""
    if not bundle.is_dir():
        yield  # Bundle.open says it better
        return
    handle = os.open(bundle, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        todo = "wait until it has ended"
        raise BrushletError("an export is writing here", where=str(bundle), todo=todo) from None
    finally:
        os.close(handle)


def _site(bundle: Bundle, page: Path, settings: SiteSettings) -> dict[str, Path | bytes]:
    """path on the site -> the file or bytes that belong there, without compressed copies."""
    if not (page / INDEX).is_file():
        raise BadFile(f"has no {INDEX}", where=str(page), todo="build the page: make page")
    runtime = f"ort-{_folder_hash(page / _RUNTIME)}/"
    files: dict[str, Path | bytes] = {}
    for ref in bundle.files():
        files[BUNDLE + ref.url] = bundle.path(ref)
    for name, path in _listing(page).items():
        # Renamed, so that a page and its runtime cannot be of different publications.
        url = runtime + name.removeprefix(_RUNTIME) if name.startswith(_RUNTIME) else name
        files[url] = path
    index = _filled(
        page / INDEX,
        {
            "brushlet-server": settings.server,
            "brushlet-runtime": runtime,
            "brushlet-isolate": "auto" if settings.isolate else "off",
        },
    )
    files[INDEX] = index
    files[SERVICE_WORKER] = _knowing(page, index)
    files[BUNDLE + MANIFEST_NAME] = (bundle.folder / MANIFEST_NAME).read_bytes()
    files[HEADERS_NAME] = static_headers(files, settings.allow_origin).encode()
    files[NGINX_NAME] = nginx_snippet(settings.allow_origin).encode()
    return files


def _folder_hash(folder: Path) -> str:
    lines = [f"{name} {sha256_file(path)}\n" for name, path in sorted(_listing(folder).items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _filled(index: Path, values: Mapping[str, str]) -> bytes:
    """The page with the contents of its `<meta>` elements."""
    text = index.read_text(encoding="utf-8")
    for name, value in values.items():
        begin, meta, rest = text.partition(f'<meta name="{name}" content="')
        text = begin + meta + html.escape(value) + rest[rest.find('"') :]
        if not meta:
            what, todo = f'has no <meta name="{name}">', "build the page again: make page"
            raise BadFile(what, where=str(index), todo=todo)
    return text.encode()


def _knowing(page: Path, index: bytes) -> bytes:
    """The service worker, which knows the page by the MD5 that Workbox gave it when it was built.

    It keeps the page for visitors until its own bytes change: so they change with the page's.
    """
    built = hashlib.md5((page / INDEX).read_bytes(), usedforsecurity=False).hexdigest()
    filled = hashlib.md5(index, usedforsecurity=False).hexdigest()
    worker = page / SERVICE_WORKER
    text = worker.read_text(encoding="utf-8") if worker.is_file() else ""
    if built not in text:
        what, todo = f"does not belong to {INDEX}", "build the page again: make page"
        raise BadFile(what, where=str(worker), todo=todo)
    return text.replace(built, filled).encode()


def _stage(url: str, content: Path | bytes, out: Path, stage: Path, quality: int) -> set[str]:
    """Stages what differs from `out`; returns the paths that belong to `url`, copies too."""
    target, staged = out / url, stage / url
    fresh = not _same(target, content)
    if not fresh and cached(url) == IMMUTABLE:
        # Copies are moved before their file, so a file that is there has all of its own.
        return {url} | {url + end for end in ENCODINGS if (out / (url + end)).exists()}
    staged.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        staged.write_bytes(content)
    elif url.startswith(BUNDLE):
        link_or_copy(content, staged)
    else:
        shutil.copyfile(content, staged)
    copies = {} if url in (HEADERS_NAME, NGINX_NAME) else compressed(staged, url, quality)
    for end, data in copies.items():
        if not _same(out / (url + end), data):
            (stage / (url + end)).write_bytes(data)
    if not fresh:
        staged.unlink()
    return {url} | {url + end for end in copies}


def _same(target: Path, content: Path | bytes) -> bool:
    if not target.is_file() or target.is_symlink():
        return False
    if isinstance(content, bytes):
        return target.read_bytes() == content
    return target.samefile(content) or filecmp.cmp(target, content, shallow=False)


def _move(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def _in_order(wanted: set[str], files: Mapping[str, object]) -> list[str]:
    """Hashed files, the rest, the page, what keeps it, the manifest; each behind its copies."""

    def turn(url: str) -> tuple[bool, bool, bool, bool, str, bool]:
        plain = _plain(url)
        return (
            plain == BUNDLE + MANIFEST_NAME,
            plain == SERVICE_WORKER,
            plain == INDEX,
            cached(plain) != IMMUTABLE,
            plain,
            url in files,
        )

    return sorted(wanted, key=turn)


def _prune(out: Path, wanted: set[str]) -> list[str]:
    """Removes files with our names that nothing refers to; stale copies of others first."""
    removed = [
        url
        for url in _listing(out)
        if url not in wanted and (_plain(url) in wanted or cached(_plain(url)) == IMMUTABLE)
    ]
    removed.sort(key=lambda url: (_plain(url) not in wanted, url))
    for url in removed:
        (out / url).unlink()
        folder = (out / url).parent
        if folder != out and not any(folder.iterdir()):
            folder.rmdir()
    return removed


def _plain(url: str) -> str:
    """The path of the file that `url` is, or is a compressed copy of."""
    return re.sub(r"\.(br|gz)$", "", url)


def _listing(folder: Path) -> dict[str, Path]:
    """Every file below, by relative path; hidden ones are nobody's business."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: path
        for name, path in sorted(names.items())
        if path.is_file() and not any(part.startswith(".") for part in name.split("/"))
    }


def _notes(sizes: Mapping[str, int]) -> Iterator[str]:
    large = [url for url, size in sizes.items() if size > _CLOUDFLARE_LIMIT]
    if large:
        yield (
            f"Cloudflare Pages takes files up to 25 MiB; larger: {', '.join(sorted(large))}."
            " Other hosts take them."
        )

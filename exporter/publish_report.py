"""What a publication changed, and what visitors download because of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from exporter.publish_headers import BUNDLE
from runtime.manifest import (
    BASE_VARIANT,
    MANIFEST_NAME,
    FileRef,
    Graph,
    Manifest,
    Provider,
    Style,
    UNetVariant,
    file_refs,
)

# As in web/src/engine/runtimes.ts and web/src/page/settings.ts; tests/web/test_site.py holds
# the sums against what Chromium fetches.
_BUILDS: dict[Provider, tuple[str, str]] = {
    "wasm": ("ort.wasm.min-", "ort-wasm-simd-threaded."),
    "webgpu": ("ort.webgpu.min-", "ort-wasm-simd-threaded.asyncify."),
}
_FIRST_SAMPLER, _FIRST_STYLE = "ddim", "miyazaki"
_HEAVY = 256 << 20
"""Bytes of text encoder and VAE that a device without a GPU leaves to the server
(web/src/library/choosemode.ts)."""
PROVIDERS = tuple(_BUILDS)


@dataclass(frozen=True)
class Visit:
    """Bytes over the wire until the first picture, by execution provider."""

    new: dict[Provider, int]
    returning: dict[Provider, int]  # one who has all of the last publication
    styles: dict[str, dict[Provider, int]]  # more, when a style is turned on


@dataclass(frozen=True)
class Report:
    """What a publication did; paths are relative to the site."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    sizes: dict[str, int] = field(repr=False)  # of every file
    visit: Visit
    notes: list[str]


def show(report: Report, title: str, console: Console) -> None:
    """Prints what was done and what it costs visitors."""
    files = Table("file", "", "bytes", "sent", title=title, title_justify="left")
    files.columns[0].overflow = "fold"
    for column in files.columns[2:]:
        column.justify = "right"
    done = dict.fromkeys(report.added, "new") | dict.fromkeys(report.changed, "changed")
    for url in sorted(url for url in done if not url.endswith((".br", ".gz"))):
        sent = wire_bytes(report.sizes, url)
        files.add_row(url, done[url], f"{report.sizes[url]:,}", f"{sent:,}")
    for url in report.removed:
        files.add_row(url, "removed", "", "")
    if files.row_count:
        console.print(files)
    else:
        console.print(f"{title}: nothing has changed", soft_wrap=True)
    visit = report.visit
    visits = Table("bytes until the first picture", *visit.new)
    visits.add_row("a new visitor", *(f"{count:,}" for count in visit.new.values()))
    if BUNDLE + MANIFEST_NAME not in report.added:  # there was a publication before this one
        visits.add_row("a returning one", *(f"{count:,}" for count in visit.returning.values()))
    for name, counts in visit.styles.items():
        visits.add_row(f"  turning on {name}", *(f"{count:,}" for count in counts.values()))
    for column in visits.columns[1:]:
        column.justify = "right"
    console.print(visits)
    for note in report.notes:
        console.print(note, soft_wrap=True)


def visit(manifest: Manifest, sizes: Mapping[str, int], new: Iterable[str]) -> Visit:
    """What visitors download from a site.

    Args:
        manifest: of its bundle.
        sizes: bytes of every file of the site, by path, compressed copies too.
        new: paths that were not there before or had other content.
    """
    fresh = set(new)
    first = {provider: first_visit(manifest, sizes, provider) for provider in PROVIDERS}

    def wire(urls: Iterable[str]) -> int:
        return sum(wire_bytes(sizes, url) for url in urls)

    return Visit(
        new={provider: wire(urls) for provider, urls in first.items()},
        returning={provider: wire(urls & fresh) for provider, urls in first.items()},
        styles={
            style.name: {
                provider: wire(
                    _style_files(manifest, style, provider) - _base_files(manifest, provider)
                )
                for provider in PROVIDERS
            }
            for style in manifest.styles
        },
    )


def wire_bytes(sizes: Mapping[str, int], url: str) -> int:
    """Bytes of a body as it is sent to a browser that takes Brotli."""
    return next(sizes[name] for name in (f"{url}.br", f"{url}.gz", url) if name in sizes)


def first_visit(manifest: Manifest, urls: Iterable[str], provider: Provider) -> set[str]:
    """The files behind a first picture, when `provider` passes its golden vector."""
    # Text encoder and VAE run on WebAssembly, beside a GPU too.
    here = _parts_run_here(manifest, provider)
    builds = [_BUILDS[name] for name in {provider, *(("wasm",) if here else ())}]
    runtimes = {runtime.removesuffix(".") for _, runtime in builds}
    found = set()
    for url in urls:
        folder, _, name = url.rpartition("/")
        if name.endswith((".br", ".gz", ".map")):
            continue
        if (
            url == "index.html"
            or (folder == "assets" and name.startswith(tuple(script for script, _ in builds)))
            or (folder == "assets" and not name.startswith("ort."))
            or (folder.startswith("ort-") and name.rpartition(".")[0] in runtimes)
        ):
            found.add(url)
    found |= _base_files(manifest, provider) | {BUNDLE + MANIFEST_NAME}
    if here:
        found |= {BUNDLE + ref.url for ref in _part_refs(manifest)}
    found |= {BUNDLE + ref.url for style in manifest.styles for ref in file_refs(style.thumbnail)}
    samplers = {sampler.name: sampler.file for sampler in manifest.samplers}
    sampler = samplers.get(_FIRST_SAMPLER) or manifest.samplers[0].file
    found |= {BUNDLE + sampler.url, BUNDLE + manifest.slots.url}
    found |= {BUNDLE + ref.url for ref in file_refs(manifest.lora)}  # for files that are dropped
    styles = {style.name: style for style in manifest.styles}
    if manifest.styles:
        style = styles.get(_FIRST_STYLE) or manifest.styles[0]
        found |= _style_files(manifest, style, provider)
    return found


def _parts_run_here(manifest: Manifest, provider: Provider) -> bool:
    graphs = (manifest.text_encoder.graph, manifest.vae_decoder.graph, manifest.vae_encoder.graph)
    if not all("wasm" in graph.providers for graph in graphs):
        return False
    shards = {shard for graph in graphs[:2] for shard in graph.shards}
    heavy = sum(manifest.shards[shard].bytes for shard in shards) > _HEAVY
    return provider != "wasm" or not heavy


def _part_refs(manifest: Manifest) -> list[FileRef]:
    """What reads words and develops a picture."""
    tokenizer, text = manifest.tokenizer, manifest.text_encoder
    refs = [tokenizer.tokenizer_json, tokenizer.tokenizer_config, text.slots]
    for graph in (text.graph, manifest.vae_decoder.graph):
        refs += [graph.file, *(manifest.shards[shard] for shard in graph.shards)]
    return refs


def _base_files(manifest: Manifest, provider: Provider) -> set[str]:
    return _variant_files(manifest, manifest.variant(BASE_VARIANT), provider)


def _style_files(manifest: Manifest, style: Style, provider: Provider) -> set[str]:
    if style.variant:
        return _variant_files(manifest, manifest.variant(style.variant), provider)
    return {BUNDLE + ref.url for ref in file_refs(style.pack)}


def _variant_files(manifest: Manifest, variant: UNetVariant, provider: Provider) -> set[str]:
    def rank(graph: Graph) -> tuple[bool, bool]:
        return graph.compute == "fp32", graph.attention == "plain"

    graphs = sorted((graph for graph in variant.graphs if provider in graph.providers), key=rank)
    refs = [*file_refs(variant.golden)]
    for graph in graphs[:1]:
        refs += [*file_refs(graph), *(manifest.shards[shard] for shard in graph.shards)]
    return {BUNDLE + ref.url for ref in refs}

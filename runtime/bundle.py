"""A bundle on disk: its manifest, and the files that the manifest promises."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import onnxruntime
from pydantic import BaseModel, ValidationError

from runtime.errors import BadFile, BrushletError
from runtime.files import sha256_file
from runtime.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    FileRef,
    Graph,
    Manifest,
    Provider,
    SamplerTable,
    SamplerTables,
    SlotTable,
    Style,
    UNetGraph,
    UNetVariant,
    file_refs,
)
from runtime.packs import Pack, read_pack
from runtime.tensors import read_bytes

_Model = TypeVar("_Model", bound=BaseModel)

_EXPORT_AGAIN = "export the bundle again"
_ONNX_NAMES: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Files are looked at when they are used, and all at once by `verify`."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Reads the manifest; BadFile when it is missing, of another version, or invalid."""
        path = folder / MANIFEST_NAME
        if not path.is_file():
            what = f"has no {MANIFEST_NAME}" if folder.is_dir() else "is no folder"
            todo = "give the folder that `python -m exporter` wrote"
            raise BadFile(what, where=str(folder), todo=todo)
        try:
            version = json.loads(read_bytes(path)).get("schema_version")
        except (ValueError, AttributeError, RecursionError):
            raise BadFile("is not a JSON object", where=str(path), todo=_EXPORT_AGAIN) from None
        if version != SCHEMA_VERSION:
            what = f"has schema version {version!r}, this program reads {SCHEMA_VERSION}"
            todo = "export the bundle again, or use the brushlet version that wrote it"
            raise BadFile(what, where=str(path), todo=todo)
        return cls(folder, _parse(Manifest, path))

    def files(self) -> list[FileRef]:
        """Every file that the manifest names, once each."""
        return list({ref.url: ref for ref in file_refs(self.manifest)}.values())

    def path(self, ref: FileRef) -> Path:
        """Where a file lies; BadFile when it is missing or has another size than promised."""
        path = self.folder / ref.url
        if not path.is_file():
            raise BadFile("is missing", where=str(path), todo=_EXPORT_AGAIN)
        if (size := path.stat().st_size) != ref.bytes:
            what = f"has {size} bytes where the manifest says {ref.bytes}"
            raise BadFile(what, where=str(path), todo=_EXPORT_AGAIN)
        return path

    def verify(self, on_bytes: Callable[[int, int], None] | None = None) -> None:
        """Compares size and SHA-256 of every file; BadFile at the first that differs.

        Args:
            on_bytes: called after each file with (bytes verified, bytes in all).
        """
        refs = self.files()
        done, total = 0, sum(ref.bytes for ref in refs)
        for ref in refs:
            path = self.path(ref)
            if sha256_file(path) != ref.sha256:
                raise BadFile("has been altered (SHA-256)", where=str(path), todo=_EXPORT_AGAIN)
            done += ref.bytes
            if on_bytes:
                on_bytes(done, total)

    def slot_table(self) -> SlotTable:
        """The slots of the UNet, in graph order."""
        return _parse(SlotTable, self.path(self.manifest.slots))

    def text_slot_table(self) -> SlotTable:
        """The slots of the text encoder, in graph order."""
        return _parse(SlotTable, self.path(self.manifest.text_encoder.slots))

    def slot_tables(self) -> tuple[SlotTable, SlotTable]:
        """The slots of every model that LoRAs change."""
        return self.slot_table(), self.text_slot_table()

    def sampler(self, name: str, steps: int) -> SamplerTable:
        """The table of a sampler for a number of steps; BrushletError when there is none."""
        samplers = {sampler.name: sampler for sampler in self.manifest.samplers}
        if name not in samplers:
            todo = f"choose one of {', '.join(samplers)}"
            raise BrushletError(f"the bundle has no sampler {name!r}", todo=todo)
        tables = _parse(SamplerTables, self.path(samplers[name].file)).tables
        if str(steps) not in tables:
            counts = sorted(int(count) for count in tables)
            todo = f"choose from {counts[0]} to {counts[-1]}"
            raise BrushletError(f"the sampler {name} has no table of {steps} steps", todo=todo)
        return tables[str(steps)]

    def style(self, name: str) -> Style:
        """The style called `name`; BrushletError when there is none."""
        styles = {style.name: style for style in self.manifest.styles}
        if name not in styles:
            todo = f"choose one of: {', '.join(styles) or '(it has no styles)'}"
            raise BrushletError(f"the bundle has no style {name!r}", todo=todo)
        return styles[name]

    def style_pack(self, name: str) -> Pack:
        """The pack of an external style; BrushletError when there is none."""
        style = self.style(name)
        if style.pack is None:
            todo = "export it with MODE=external to stack it or change its strength"
            raise BrushletError(f"the style {name} is merged and has no pack", todo=todo)
        return read_pack(self.path(style.pack), self.manifest.base_hash, self.manifest.name)

    def graph(self, variant: UNetVariant, provider: Provider = "cpu") -> UNetGraph:
        """The first graph of a variant that suits an execution provider."""
        for graph in variant.graphs:
            if provider in graph.providers:
                return graph
        what = f"the UNet {variant.name} has no graph for the {provider} execution provider"
        raise BrushletError(what, where=str(self.folder), todo=_EXPORT_AGAIN)

    def session(
        self,
        graph: Graph,
        providers: Sequence[Provider] = ("cpu",),
        file: FileRef | None = None,
    ) -> onnxruntime.InferenceSession:
        """Opens a graph with onnxruntime; its shards lie beside it and are found by name.

        Args:
            graph: what to open.
            providers: execution providers, the first that can is used.
            file: which of its files; default: `graph.file`.

        Raises:
            BadFile: a file is missing, cut or damaged.
            BrushletError: onnxruntime lacks an execution provider that was asked for.
        """
        names = [_ONNX_NAMES.get(provider, provider) for provider in providers]
        if missing := set(names) - set(onnxruntime.get_available_providers()):
            what = f"this onnxruntime has no {', '.join(sorted(missing))}"
            raise BrushletError(what, todo="install brushlet with the extra gpu, or use cpu")
        for shard in graph.shards:
            self.path(self.manifest.shards[shard])
        path = self.path(file or graph.file)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors are raised, and then ours to tell
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=names)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            what = f"onnxruntime cannot open it ({error})"
            todo = "check the bundle with `python -m runtime verify`"
            raise BadFile(what, where=str(path), todo=todo) from error


def _parse(model: type[_Model], path: Path) -> _Model:
    try:
        return model.model_validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"field {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise BadFile(what, where=str(path), todo=_EXPORT_AGAIN) from None

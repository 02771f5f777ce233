"""The opened bundle: verified, with its sessions, and followed when the exporter changes it."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from runtime.bundle import Bundle
from runtime.errors import BrushletError, Cancelled
from runtime.manifest import MANIFEST_NAME, Manifest
from runtime.text import TextEncoder
from runtime.vae import VaeDecoder, VaeEncoder
from server.problems import NotReady

_MERGED = 2  # text encoders of merged styles that stay open


@dataclass(frozen=True)
class Parts:
    """What the endpoints work with."""

    bundle: Bundle
    text_encoder: TextEncoder
    vae_decoder: VaeDecoder
    vae_encoder: VaeEncoder
    # Of merged styles, by graph file; few, because each is as large as the base's.
    _merged: dict[str, TextEncoder] = field(default_factory=dict)

    def text_encoder_of(self, variant: str) -> TextEncoder:
        """The text encoder of a UNet variant, opened when it is first asked for."""
        own = self.bundle.manifest.variant(variant).text_encoder
        if own is None:
            return self.text_encoder
        key = own.graph.file.url
        opened = self._merged.get(key)
        if opened is None:
            opened = TextEncoder(self.bundle, variant)
            if len(self._merged) >= _MERGED:
                self._merged.clear()
            self._merged[key] = opened
        return opened


_Stamp = tuple[int, int, int]


class Engine:
    """Opens the bundle in `folder`, and again when its manifest has been replaced.

    A new style leaves the sessions as they are; a new base opens others. A bundle that did not
    open is tried again, at most every `retry_seconds`: its files may still be arriving.
    """

    def __init__(self, folder: Path, retry_seconds: int) -> None:
        self._folder = folder
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._fault = ""
        self._stamp: _Stamp | None = None
        self._retry_at = 0.0
        self._closing = False

    def parts(self) -> Parts:
        """The bundle as it lies on disk now; opens it when it is new, which takes a while.

        NotReady when somebody else is opening it, or it cannot be opened.
        """
        if self._parts is None and self._lock.locked():
            raise NotReady("the bundle is being verified and opened", seconds=self._retry_seconds)
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp or (self._parts is None and monotonic() >= self._retry_at):
                self._load()
                self._stamp = stamp
                self._retry_at = monotonic() + self._retry_seconds
            if self._parts is None:
                raise NotReady(self._fault, seconds=None)
            return self._parts

    def close(self) -> None:
        """Makes a verification in progress end early."""
        self._closing = True

    def _look(self) -> _Stamp | None:
        try:
            stat = (self._folder / MANIFEST_NAME).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _load(self) -> None:
        try:
            bundle = Bundle.open(self._folder)
            if self._parts and _sessions(bundle.manifest) == _sessions(self._parts.bundle.manifest):
                self._parts = replace(self._parts, bundle=bundle)
                return
            self._parts = None
            for ref in bundle.files():
                bundle.path(ref)  # a missing file is told before the others are hashed
            bundle.verify(self._on_bytes)
            self._parts = Parts(bundle, TextEncoder(bundle), VaeDecoder(bundle), VaeEncoder(bundle))
        except (BrushletError, OSError) as error:
            self._parts = None
            self._fault = str(error)

    def _on_bytes(self, _done: int, _total: int) -> None:
        if self._closing:
            raise Cancelled("the server is shutting down")


def _sessions(manifest: Manifest) -> tuple[object, ...]:
    """All that sessions and their use depend on."""
    return (
        manifest.model,
        manifest.text_encoder,
        manifest.vae_decoder,
        manifest.vae_encoder,
        manifest.tokenizer,
        {name: manifest.shards[name] for name in _shards(manifest)},
    )


def _shards(manifest: Manifest) -> set[str]:
    parts = (manifest.text_encoder, manifest.vae_decoder, manifest.vae_encoder)
    return {name for part in parts for name in part.graph.shards}

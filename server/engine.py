"""The opened bundle: verified, with its sessions, and followed when the exporter changes it."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.bundle import Bundle
from runtime.errors import BrushletError, Cancelled
from runtime.manifest import MANIFEST_NAME, Manifest
from runtime.text import TextEncoder
from runtime.vae import VaeDecoder, VaeEncoder
from server.problems import NotReady


@dataclass(frozen=True)
class Parts:
    """What the endpoints work with."""

    bundle: Bundle
    text_encoder: TextEncoder
    vae_decoder: VaeDecoder
    vae_encoder: VaeEncoder


_Stamp = tuple[int, int, int]


class Engine:
    """Opens the bundle in `folder`, and again when its manifest has been replaced.

    A new style leaves the sessions as they are; a new base opens others.
    """

    def __init__(self, folder: Path, retry_seconds: int) -> None:
        self._folder = folder
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._fault = ""
        self._stamp: _Stamp | None = None
        self._closing = False

    def parts(self) -> Parts:
        """The bundle as it lies on disk now; opens it when it is new, which takes a while.

        NotReady when somebody else is opening it, or it cannot be opened.
        """
        if self._parts is None and self._lock.locked():
            raise NotReady("the bundle is being verified and opened", seconds=self._retry_seconds)
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp or stamp is None:
                self._load()
                self._stamp = stamp
            if self._parts is None:
                raise NotReady(self._fault, seconds=self._retry_seconds)
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
            bundle.verify(self._on_bytes)
            self._parts = Parts(bundle, TextEncoder(bundle), VaeDecoder(bundle), VaeEncoder(bundle))
        except BrushletError as error:
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

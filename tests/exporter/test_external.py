from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from exporter.blend import Mixture, read_mixture
from exporter.external import export_external
from exporter.parity import Parity
from exporter.progress import silent
from exporter.staging import staging
from runtime.adapters import Adapter
from runtime.bundle import Bundle
from runtime.lora import LoraModule
from runtime.manifest import SlotTable, Style


class Mended(Mixture):
    """Says something else to the gate than to the pack: of one layer the double."""

    def adapters(self, *tables: SlotTable) -> Mapping[str, Adapter]:  # type: ignore[override]
        found = dict(super().adapters(*tables))
        # The weakest: beside strong layers it could be all wrong.
        name = min(found, key=lambda slot: np.abs(found[slot].delta()).max())  # type: ignore[union-attr]
        weakest = found[name]
        assert isinstance(weakest, LoraModule)
        found[name] = replace(weakest, up=2 * weakest.up)
        return found  # type: ignore[return-value]


def staged(bundle: Bundle, mixture: Mixture, out: Path) -> tuple[Style, list[Parity]]:
    out.mkdir()
    with staging(out) as stage:
        return export_external(bundle, mixture, mixture.details(), stage, silent)


def test_a_pack_is_measured_layer_by_layer(
    bundle: Bundle, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    mixture = read_mixture(tiny_loras["wiggle"])
    style, [parity] = staged(bundle, mixture, tmp_path / "sound")
    assert (style.kind, style.rank, style.models) == ("external", 4, ["unet"])
    assert style.source_sha256 == mixture.sha256
    assert parity.passed
    _, [parity] = staged(bundle, Mended(mixture.blend, mixture.files), tmp_path / "wrong")
    assert parity.error > 0.4
    assert not parity.passed

"""How much each of several styles changes a model, measured on its pack.

A style's change to a slot is s A B. Its norm needs no A B: ||A B||^2 = tr((A^T A)(B B^T)), where
both factors are `[rank, rank]`. A style counts with all its slots together, as one long vector.
"""

import math
from collections.abc import Mapping

import numpy as np

from runtime.bundle import Bundle
from runtime.manifest import SlotTable
from runtime.packs import Pack
from runtime.styles import Strengths, choose_styles


def change_norm(pack: Pack, table: SlotTable) -> float:
    """The Frobenius norm of A B over a model's slots, at strength 1, in float64."""
    squares = 0.0
    for slot in table.slots:
        if slot.input_a in pack.tensors:
            A = pack.tensors[slot.input_a].astype(float)
            B = pack.tensors[slot.input_b].astype(float)
            squares += float(np.sum((A.T @ A) * (B @ B.T)))
    return math.sqrt(max(squares, 0.0))


def shares(bundle: Bundle, styles: Mapping[str, float | Strengths]) -> dict[str, float]:
    """Each style's part of the sum of all styles' norms; zeros where nothing is changed.

    A style's norm is that of its change to UNet and text encoder together. A merged style, which
    stands alone, has all of it.

    Raises:
        BrushletError, BadFile, WrongBase: as `choose_styles`.
    """
    chosen = choose_styles(bundle, styles)
    tables = bundle.slot_tables()
    norms = dict.fromkeys(styles, 0.0)
    for pack, strengths in chosen.packs:
        parts = (
            strength * change_norm(pack, table)
            for table, strength in zip(tables, (strengths.unet, strengths.te), strict=True)
        )
        norms[pack.metadata.name] = math.hypot(*parts)
    if not chosen.packs:  # a merged one is the variant itself
        norms = {name: float(bundle.style(name).variant == chosen.variant) for name in styles}
    total = sum(norms.values())
    return {name: norm / total if total else 0.0 for name, norm in norms.items()}

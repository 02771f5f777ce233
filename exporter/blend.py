"""Several LoRAs in one style, each with its weight: how they are named, read and put together."""

import hashlib
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporter.details import Details, joined, read_details, slug
from runtime.adapters import Adapter, wide
from runtime.errors import BrushletError
from runtime.lora import LoraFile, LoraModule, LowRank, match_adapters, match_slots, read_lora
from runtime.manifest import SlotTable
from runtime.tensors import Array, Float32

LORAS = Path(__file__).parents[1] / "models" / "loras"


@dataclass(frozen=True)
class Part:
    """A LoRA file and its weight in a style."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Blend:
    """LoRAs that make one style. What is None is told by the LoRAs themselves."""

    parts: tuple[Part, ...]
    title: str | None = None
    description: str | None = None
    picture: Path | None = None


def find_lora(name_or_path: str) -> Path:
    """The LoRA file of that name under `models/loras/`, or at that path.

    Raises:
        BrushletError: there is none; the names that exist, or lie in that folder, are listed.
    """
    if path := _lora_at(name_or_path):
        return path
    folder = Path(name_or_path)
    if name_or_path and folder.is_dir():
        files = sorted(str(path) for path in folder.glob("*.safetensors"))
        todo = f"name a file: {', '.join(files)}" if files else "it has no .safetensors file"
        raise BrushletError("it is a folder, not a LoRA", where=name_or_path, todo=todo)
    names = sorted(path.stem for path in LORAS.glob("*.safetensors"))
    raise BrushletError(
        "there is no such LoRA",
        where=name_or_path,
        todo=f"give a path, or one of: {', '.join(names) or '(models/loras is empty)'}",
    )


def parse_loras(text: str) -> tuple[Path | Blend, float | None]:
    """What `a`, `a:0.7` or `a:0.7,b:0.4` names: names under `models/loras/`, or paths.

    The longest reading that names a file wins, so that a path may hold `:` and `,`: the whole
    text, then all before its last `:`, then the items between its commas. The weight of an item
    that has none is 1.

    Returns:
        One LoRA and its weight, None where it has none; or a blend, and None.

    Raises:
        BrushletError: there is no such LoRA, or a weight is no number.
    """
    whole = _item(text)
    if whole or "," not in text:
        return whole or (find_lora(_name(text)), None)
    parts = []
    for item in (item.strip() for item in text.split(",")):
        path, weight = _item(item) or (find_lora(_name(item)), None)
        parts.append(Part(path, 1.0 if weight is None else weight))
    return Blend(tuple(parts)), None


@dataclass(frozen=True)
class Mixture:
    """The LoRA files of a style, read, each with its weight."""

    blend: Blend
    files: tuple[tuple[LoraFile, float], ...]

    @property
    def sha256(self) -> str:
        """Of the file; of hashes and weights where there are several."""
        if self._alone:
            return self._alone.sha256
        lines = [f"{file.sha256} {weight!r}\n" for file, weight in self.files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def _alone(self) -> LoraFile | None:
        """The file that is the style by itself."""
        (file, weight), *others = self.files
        return file if weight == 1 and not others else None

    def details(self, name: str | None = None, strength: float | None = None) -> Details:
        """How the style is called and shown. `name` and `strength` (the slider's start) win.

        Raises:
            BadFile: a sidecar is damaged.
        """
        blend = self.blend
        if self._alone and blend.title is None:
            return read_details(self._alone, name, strength)
        details = joined([read_details(file) for file, _ in self.files])
        if blend.title is not None:
            details = details.renamed(slug(blend.title), blend.title)
        if strength is not None:
            details = details.starting_at(strength)
        return replace(
            details,
            name=name or details.name,
            description=blend.description or details.description,
            picture=blend.picture or details.picture,
        )

    def adapters(self, *tables: SlotTable) -> "dict[str, Adapter | Mixed]":
        """Slot name -> what all files together do to its weight.

        Raises:
            BadFile, WrongBase, UnmatchedKeys: as `match_adapters`.
        """
        if self._alone:
            return {**match_adapters(self._alone, *tables)}
        found: dict[str, list[tuple[Adapter, float]]] = defaultdict(list)
        for file, weight in self.files:
            for name, adapter in match_adapters(file, *tables).items():
                found[name].append((adapter, weight))
        return {name: Mixed(tuple(adapters)) for name, adapters in found.items()}

    def stacked(self, *tables: SlotTable) -> LoraFile:
        """All files as one LoRA: A = [A_1 | A_2 ...] along the rank, B = [w_1 B_1; w_2 B_2 ...].

        Raises:
            BadFile, WrongBase, UnmatchedKeys, BrushletError: as `match_slots`.
        """
        if self._alone:
            return self._alone
        found: dict[str, list[LowRank]] = defaultdict(list)
        for file, weight in self.files:
            for name, adapter in match_slots(file, *tables).items():
                found[name].append(LowRank(adapter.A, adapter.B * np.float32(weight)))
        modules: dict[str, Adapter] = {
            slot.aliases[0]: LoraModule(
                down=np.concatenate([adapter.A.T for adapter in found[slot.name]]),
                up=np.concatenate([adapter.B.T for adapter in found[slot.name]], axis=1),
                alpha=None,  # the rank, so that the scale is 1
            )
            for table in tables
            for slot in table.slots
            if slot.name in found
        }
        names = Path(", ".join(str(file.path) for file, _ in self.files))
        return LoraFile(names, self.sha256, {}, modules)


@dataclass(frozen=True)
class Mixed:
    """Adapters of one layer: W' = W + sum of (apply_i(W, s * w_i) - W).

    Each sees the original weight, so that their order does not matter, also for kinds that depend
    on it. So does LyCORIS, several of whose networks each add op(x, W_i' - W) in `forward`. PEFT
    equals it for sums, but its DoRA rescales what the adapters before it made of the output
    (`peft/tuners/lora/variants.py`, `base_result`; A1111 merges in turn too), so that there
    the order counts.
    """

    parts: tuple[tuple[Adapter, float], ...]

    @property
    def rank(self) -> int | None:
        """Of all together; None where none has one."""
        return sum(adapter.rank or 0 for adapter, _ in self.parts) or None

    def apply(self, weight: Array, strength: float) -> Float32:
        """The merged weight, in fp32 and in the shape of `weight`."""
        W = wide(weight)
        changed = W.copy()
        for adapter, part in self.parts:
            changed += adapter.apply(W, strength * part) - W
        return changed

    @property
    def touches_bias(self) -> bool:
        """Whether one of them changes the layer's bias."""
        return any(adapter.touches_bias for adapter, _ in self.parts)

    def apply_bias(self, bias: Float32, strength: float) -> Float32:
        """The merged bias `[out]`."""
        changed = bias.copy()
        for adapter, part in self.parts:
            changed += adapter.apply_bias(bias, strength * part) - bias
        return changed


def read_mixture(source: Path | Blend) -> Mixture:
    """Reads the files of a style.

    Raises:
        BadFile: one of them is no LoRA that can be read.
    """
    blend = source if isinstance(source, Blend) else Blend((Part(source),))
    return Mixture(blend, tuple((read_lora(part.path), part.weight) for part in blend.parts))


def _lora_at(text: str) -> Path | None:
    candidates = (LORAS / f"{text}.safetensors", Path(text))
    return next((path for path in candidates if path.is_file()), None)


def _item(text: str) -> tuple[Path, float | None] | None:
    """`path` or `path:weight`, if there is such a file."""
    if path := _lora_at(text):
        return path, None
    name, colon, number = text.rpartition(":")
    if not colon or "," in number or not (path := _lora_at(name)):
        return None
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        todo = "write it behind the colon, for example :0.7"
        raise BrushletError(f"the weight {number!r} is no number", where=name, todo=todo)
    return path, weight


def _name(item: str) -> str:
    """What of an item names the file that is not there."""
    name, _, number = item.rpartition(":")
    try:
        float(number)
    except ValueError:
        return item
    return name or item

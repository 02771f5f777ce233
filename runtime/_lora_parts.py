"""The grammar of LoRA files: a tensor key is a module key and a suffix that names the part.

The names are those of kohya's sd-scripts, diffusers, PEFT and LyCORIS (its `weight_list`s); shapes
as their modules have them. What one module's parts make together is one of the kinds in
`runtime.adapters` and `runtime.products`.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from runtime.adapters import (
    Adapter,
    BiasedModule,
    DoraModule,
    FullModule,
    Ia3Module,
    LoraModule,
    Sum,
)
from runtime.errors import BadFile, listed
from runtime.products import Factors, LohaModule, LokrModule
from runtime.tensors import Array, Float32, Tensors

_AGAIN = "download or save the file again"
_KERNELS = ((), (1, 1), (3, 3))
_LYCORIS = [f"hada_{part}" for part in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")]
_LYCORIS += [f"lokr_{part}" for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")]

SUFFIXES = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_mid.weight": "mid",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    **{f".{name}": name for name in _LYCORIS},
    **{f".{name}.default": name for name in _LYCORIS},
    ".dora_scale": "dora_scale",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector.default": "magnitude",
    ".lora_magnitude_vector.default.weight": "magnitude",
    ".on_input": "on_input",
    ".ia3_l": "ia3_l",
    ".ia3_l.default": "ia3_l",
    ".diff": "diff",
    ".diff_b": "diff_b",
    ".alpha": "alpha",
    ".scalar": "scalar",
}
NUMBERS = ("alpha", "scalar", "on_input")


@dataclass(frozen=True)
class Kind:
    """How the parts of one kind may be: `forms` are the whole sets, `extras` may come too."""

    forms: list[set[str]]
    extras: set[str]
    shapes: str  # for people
    build: Callable[[Tensors], Adapter | None]  # None: the shapes do not fit one another


def modules_of(tensors: Tensors, where: str) -> dict[str, Adapter]:
    """Module key -> adapter, of every tensor of a file.

    Raises:
        BadFile: keys that belong to no module, modules with parts missing or too many, or parts
            whose shapes do not fit one another.
    """
    modules = _grouped(tensors, where)
    broken = []
    kinds = {}
    for key, names in modules.items():
        found = [kind for kind, rule in KINDS.items() if set().union(*rule.forms) & set(names)]
        own = [names[part].removeprefix(key) for part in names]
        if len(found) > 1:
            broken.append(f"{key} mixes {' and '.join(found)}")
        elif not found or not _whole(names, found[0]):
            broken.append(f"{key} has only {', '.join(own)}")
        elif strays := set(names) - set().union(*KINDS[found[0]].forms) - KINDS[found[0]].extras:
            what = ", ".join(names[part].removeprefix(key) for part in sorted(strays))
            broken.append(f"{key} has {what} beside {found[0]}")
        else:
            kinds[key] = found[0]
    if broken:
        what = f"{_count(broken, 'module')} not whole or not of one kind: {listed(broken, '; ')}"
        raise BadFile(what, where=where, todo=_AGAIN)
    return {
        key: _module({part: tensors[name] for part, name in names.items()}, kinds[key], key, where)
        for key, names in modules.items()
    }


def _grouped(tensors: Tensors, where: str) -> dict[str, dict[str, str]]:
    """Module key -> part -> tensor key."""
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    strangers = []
    for key in tensors:
        suffix = next((suffix for suffix in SUFFIXES if key.endswith(suffix)), "")
        part = SUFFIXES.get(suffix)
        # LyCORIS calls the vector of (IA)^3 `weight`, as everybody calls everything.
        if part is None and f"{key.removesuffix('.weight')}.on_input" in tensors:
            suffix, part = ".weight", "weight"
        if part is None:
            strangers.append(key)
            continue
        names = modules[key.removesuffix(suffix)]
        if part in names:
            what = f"{names[part]} and {key} say the same thing twice"
            raise BadFile(what, where=where, todo="keep one of them")
        names[part] = key
    if strangers:
        what = f"{_count(strangers, 'key')} not part of any LoRA module: {listed(strangers)}"
        raise BadFile(what, where=where, todo="check that this is a LoRA file")
    if not modules:
        raise BadFile("has no tensors", where=where, todo="check that this is a LoRA file")
    return modules


def _whole(names: dict[str, str], kind: str) -> bool:
    own = set(names) & set().union(*KINDS[kind].forms)
    return own in KINDS[kind].forms


def _module(part: Tensors, kind: str, key: str, where: str) -> Adapter:
    def refuse(what: str, todo: str = "save the LoRA again") -> BadFile:
        return BadFile(f"module {key}: {what}", where=where, todo=todo)

    for name, array in part.items():
        if name in NUMBERS and array.size != 1:
            raise refuse(f"{name} has the shape {list(array.shape)}, not one number")
    bias = part.get("diff_b")
    if bias is not None and (bias.ndim != 1 or bias.dtype.kind != "f"):
        raise refuse(f"diff_b of the shape {list(bias.shape)} is no [out] of floats")
    arrays = {name: array for name, array in part.items() if name not in (*NUMBERS, "diff_b")}
    adapter = None
    if all(array.dtype.kind == "f" for array in arrays.values()):
        adapter = KINDS[kind].build(part)
    if adapter is None:
        shapes = ", ".join(f"{name} {list(a.shape)} {a.dtype}" for name, a in arrays.items())
        raise refuse(f"{shapes} are no {kind}, which is {KINDS[kind].shapes}")
    # LyCORIS writes zeros where it trained no bias.
    return BiasedModule(adapter, _vector(bias)) if bias is not None and bias.any() else adapter


def _number(part: Tensors, name: str) -> float | None:
    return float(part[name].item()) if name in part else None


def _scalar(part: Tensors) -> float:
    scalar = _number(part, "scalar")
    return 1.0 if scalar is None else scalar


def _is_matrix(array: Array) -> bool:
    return array.ndim == 2 or (array.ndim == 4 and array.shape[2:] == (1, 1))


def _has_kernel(array: Array) -> bool:
    return array.ndim >= 2 and array.shape[2:] in _KERNELS


def _with_core(core: Array | None, down: Array) -> Array | None:
    """A Tucker core `[rank, rank, kh, kw]` folded into `down [rank, in]`: `[rank, in, kh, kw]`.

    The kernels are bounded before anything is computed: a core of 8 MB could ask for terabytes.
    """
    if core is None:
        return down if _has_kernel(down) else None
    if not _is_matrix(down):
        return None
    rank = down.shape[0]
    if core.shape not in [(rank, rank, *kernel) for kernel in _KERNELS if kernel]:
        return None
    matrix = down.reshape(rank, -1).astype(np.float32)
    return np.moveaxis(np.tensordot(core.astype(np.float32), matrix, (1, 0)), 3, 1)


def _lora(part: Tensors) -> Adapter | None:
    up = part["up"]
    down = _with_core(part.get("mid"), part["down"])
    if down is None or not _is_matrix(up) or up.shape[1] != down.shape[0]:
        return None
    return _decomposed(LoraModule(down, up, _number(part, "alpha"), _scalar(part)), part)


def _loha(part: Tensors) -> Adapter | None:
    ups, downs = [], []
    for half in "12":
        up, core = part[f"hada_w{half}_a"], part.get(f"hada_t{half}")
        down = _with_core(core, part[f"hada_w{half}_b"])
        if down is None or up.ndim != 2:
            return None
        ups.append(up if core is None else up.T)
        downs.append(down)
    (up1, up2), (down1, down2) = ups, downs
    fitting = up1.shape == up2.shape and down1.shape == down2.shape
    if not fitting or up1.shape[1] != down1.shape[0]:
        return None
    rank, kernel = down1.shape[0], tuple(down1.shape[2:])
    down1, down2 = down1.reshape(rank, -1), down2.reshape(rank, -1)
    alpha, scalar = _number(part, "alpha"), _scalar(part)
    return _decomposed(LohaModule(up1, down1, up2, down2, alpha, kernel, scalar), part)


def _lokr(part: Tensors) -> Adapter | None:
    core = part.get("lokr_t2")
    kernel: tuple[int, ...]
    if "lokr_w2" in part:
        whole = part["lokr_w2"]
        if not _has_kernel(whole):
            return None
        kernel, w2 = tuple(whole.shape[2:]), Factors(whole.reshape(len(whole), -1))
    else:
        left, right = part["lokr_w2_a"], _with_core(core, part["lokr_w2_b"])
        if right is None or left.ndim != 2:
            return None
        kernel = tuple(right.shape[2:])
        w2 = Factors(left if core is None else left.T, right.reshape(len(right), -1))
    w1 = Factors(part["lokr_w1"] if "lokr_w1" in part else part["lokr_w1_a"], part.get("lokr_w1_b"))
    for factors in (w1, w2):
        if factors.left.ndim != 2 or (factors.right is not None and factors.right.ndim != 2):
            return None
        if factors.right is not None and factors.left.shape[1] != factors.right.shape[0]:
            return None
    if w1.right is not None and w2.right is not None and len(w1.right) != len(w2.right):
        return None  # alpha / rank would be anybody's guess
    alpha, scalar = _number(part, "alpha"), _scalar(part)
    return _decomposed(LokrModule(w1, w2, alpha, kernel, scalar), part)


def _decomposed(change: Sum, part: Tensors) -> Adapter | None:
    """DoRA, where there are magnitudes; None where these are no vector of one of the widths."""
    magnitude, scale = part.get("magnitude"), part.get("dora_scale")
    if magnitude is not None and scale is not None:
        return None
    if magnitude is not None:  # PEFT: [out], of convolutions [1, out, 1, 1]
        vector = _vector(magnitude)
        return DoraModule(change, vector, "out") if vector.size == change.outs else None
    if scale is not None:  # LyCORIS: [out, 1...] or [1, in...]
        axis = [axis for axis, size in enumerate(scale.shape) if size > 1] or [0]
        if len(axis) > 1 or axis[0] > 1:
            return None
        # Whether the inputs are as many is seen at the slot: the kernel's area may be unknown.
        if axis[0] == 0 and scale.size != change.outs:
            return None
        return DoraModule(change, _vector(scale), "in" if axis[0] else "out")
    return change


def _vector(array: Array) -> Float32:
    return array.ravel().astype(np.float32)


def _ia3(part: Tensors) -> Adapter | None:
    on_input = _number(part, "on_input")
    vector = part["weight"]
    # [n] of Linear layers, [1, n, 1, 1] of convolutions
    is_vector = vector.ndim == 1 or vector.shape == (1, vector.size, 1, 1)
    if not is_vector or on_input not in (0, 1):
        return None
    return Ia3Module(_vector(vector), bool(on_input))


def _peft_ia3(part: Tensors) -> Adapter | None:
    """PEFT's, of Linear layers: `[out, 1]` scales what comes out, `[1, in]` what goes in.

    Of convolutions it is `[1, n, 1, 1]` for either, which does not tell.
    """
    vector = part["ia3_l"]
    if vector.ndim != 2 or 1 not in vector.shape:
        return None
    on_input = vector.shape[0] == 1
    return Ia3Module(_vector(vector) - 1, on_input, scales_bias=not on_input)


def _full(part: Tensors) -> Adapter | None:
    return FullModule(part["diff"]) if _has_kernel(part["diff"]) else None


_HADA = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
_SUMS = {"alpha", "scalar", "dora_scale", "magnitude", "diff_b"}
KINDS = {
    "LoRA": Kind(
        [{"down", "up"}, {"down", "mid", "up"}],
        _SUMS,
        "down [rank, in, ...] and up [out, rank], perhaps mid [rank, rank, 3, 3] or magnitudes"
        " [out], with kernels of 1x1 or 3x3",
        _lora,
    ),
    "LoHa": Kind(
        [_HADA, {*_HADA, "hada_t1", "hada_t2"}],
        _SUMS,
        "twice w_a [out, rank] and w_b [rank, in], or with t [rank, rank, 3, 3] and w_a [rank,"
        " out], perhaps magnitudes [out]",
        _loha,
    ),
    "LoKr": Kind(
        [
            {*w1, *w2}
            for w1, w2 in product(
                [["lokr_w1"], ["lokr_w1_a", "lokr_w1_b"]],
                [
                    ["lokr_w2"],
                    ["lokr_w2_a", "lokr_w2_b"],
                    ["lokr_w2_a", "lokr_w2_b", "lokr_t2"],
                ],
            )
        ],
        _SUMS,
        "w1 [a, c] and w2 [b, d, ...], or either as w_a [.., rank] and w_b [rank, ..] of one rank,"
        " perhaps t2 [rank, rank, 3, 3] or magnitudes [out]",
        _lokr,
    ),
    "(IA)^3": Kind([{"weight", "on_input"}], {"diff_b"}, "weight [n] and on_input 0 or 1", _ia3),
    "PEFT (IA)^3": Kind(
        [{"ia3_l"}],
        set(),
        "ia3_l [out, 1] or [1, in]; that of a convolution does not tell which of these it is",
        _peft_ia3,
    ),
    "full difference": Kind([{"diff"}], {"diff_b"}, "diff [out, in] or [out, in, 3, 3]", _full),
}


def _count(items: list[str], noun: str) -> str:
    return f"1 {noun} is" if len(items) == 1 else f"{len(items)} {noun}s are"

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from exporter.slotting import Detour, folded_slots, is_projection, slot_shapes


@pytest.mark.parametrize(
    "base",
    [
        nn.Linear(6, 4),
        nn.Conv2d(6, 4, 1),
        nn.Conv2d(6, 4, 3, stride=2, padding=1),
    ],
)
def test_a_detour_is_the_module_with_the_product_added_to_its_weight(base: nn.Module) -> None:
    torch.manual_seed(0)
    convolution = isinstance(base, nn.Conv2d)
    ins = base.weight[0].numel()  # type: ignore[index, operator]
    A, B = torch.randn(ins, 2), torch.randn(2, 4)
    x = torch.randn(2, 6, 5, 5) if convolution else torch.randn(2, 5, 6)
    with torch.no_grad():
        found = Detour(base, "layer", {"layer": (A, B)})(x)
        base.weight += (A @ B).T.reshape(base.weight.shape)  # type: ignore[operator, union-attr]
        torch.testing.assert_close(found, base(x), rtol=1e-4, atol=1e-5)


def test_shapes_are_the_modules(tiny_unet: UNet2DConditionModel) -> None:
    modules = dict(tiny_unet.named_modules())
    for path, shape in slot_shapes(tiny_unet, "full").items():
        weight = modules[path].weight
        assert (shape.ins, shape.outs) == (weight[0].numel(), weight.shape[0])
        assert shape.transposed == is_projection(path, modules[path])


def test_a_quantised_weight_takes_no_sum(tiny_unet: UNet2DConditionModel) -> None:
    shapes = slot_shapes(tiny_unet, "full")
    folded, quantised = (folded_slots(tiny_unet, "full", q) for q in (False, True))
    assert quantised == {path for path in folded if not shapes[path].transposed} < folded

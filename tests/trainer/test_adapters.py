from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from trainer.adapters import add_adapters, set_strength


def test_strength_scales_what_the_adapters_add(tiny_base: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet").eval()
    channels, width = unet.config.in_channels, unet.config.cross_attention_dim
    sample, states = torch.randn(1, channels, 8, 8), torch.randn(1, 4, width)

    def predict(strength: float | None = None) -> torch.Tensor:
        if strength is not None:
            set_strength(unet, strength)
        with torch.no_grad():
            predicted: torch.Tensor = unet(sample, 500, states).sample
        return predicted

    base = predict()
    parameters = add_adapters(unet, rank=4, alpha=2, seed=0)
    up = [parameter for name, parameter in parameters.items() if ".lora_B." in name]
    with torch.no_grad():
        for parameter in up:
            parameter.normal_(std=0.1)
    as_trained = predict()
    assert not torch.allclose(as_trained, base, atol=1e-3)
    torch.testing.assert_close(predict(0), base)
    torch.testing.assert_close(predict(1), as_trained)

    halved = predict(0.5)
    with torch.no_grad():
        for parameter in up:
            parameter.mul_(0.5)
    torch.testing.assert_close(predict(1), halved)

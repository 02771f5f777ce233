"""Captioned landscapes drawn by code: the training data of the embedded model."""

from models.scenes.dataset import write_style_dataset
from models.scenes.draw import draw
from models.scenes.scene import STYLES, Scene, styled

__all__ = ["STYLES", "Scene", "draw", "styled", "write_style_dataset"]

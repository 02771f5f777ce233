"""A small convolutional judge: says what a picture shows, so that quality can be counted."""

from models.classifiers.judge import HEADS, Judge, load_judge

__all__ = ["HEADS", "Judge", "load_judge"]

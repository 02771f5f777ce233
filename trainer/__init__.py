"""Trains a LoRA: images and captions in, one kohya-keyed `.safetensors` file out."""

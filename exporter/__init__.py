"""From a Stable Diffusion pipeline and a LoRA to a bundle of static files.

`python -m exporter export --lora NAME_OR_PATH` is what `make export LORA=...` runs.
"""

VERSION = "0.1.0"
NAME = f"brushlet-exporter {VERSION}"

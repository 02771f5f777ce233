"""From a Stable Diffusion pipeline and a LoRA to a bundle of static files.

`python -m exporter export --lora NAME_OR_PATH` is what `make export LORA=...` runs.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path

# Modules that have no part in what a base's files hold.
BESIDE = {
    "__main__", "adapter_format", "blend", "details", "examples", "export", "external", "fitting",
    "folder", "formats", "inspection", "layers", "merged", "merged_golden", "optimum_format",
    "planned", "publish", "publish_compress", "publish_headers", "publish_report", "recipe",
    "report", "sidecar", "styles", "whole",
}  # fmt: skip


# Whose schedulers, models and graphs a base's files are made of.
_PACKAGES = "diffusers", "onnx-ir", "onnxscript", "optimum-onnx", "transformers"


def _code() -> str:
    """Eight digits that change with the code that exports a base, so that none that is stale is
    reused."""
    folder = Path(__file__).parent
    files = sorted(path for path in folder.glob("*.py") if path.stem not in BESIDE)
    parts = [path.read_bytes() for path in files]
    parts += [version(package).encode() for package in _PACKAGES]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:8]


NAME = f"brushlet-exporter {version('brushlet')} ({_code()}, torch {version('torch')})"

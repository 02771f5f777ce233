"""From a Stable Diffusion pipeline and a LoRA to a bundle of static files.

`python -m exporter export --lora NAME_OR_PATH` is what `make export LORA=...` runs.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path

# Modules that have no part in what a base's files hold.
BESIDE = {
    "__main__", "adapter_format", "blend", "details", "export", "external", "fitting", "folder",
    "formats", "inspection", "layers", "merged", "merged_golden", "optimum_format", "planned",
    "publish", "publish_compress", "publish_headers", "publish_report", "recipe", "report",
    "sidecar", "styles", "whole",
}  # fmt: skip


def _code() -> str:
    """Eight digits that change with the code that exports a base, so that none that is stale is
    reused."""
    folder = Path(__file__).parent
    files = sorted(path for path in folder.glob("*.py") if path.stem not in BESIDE)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


NAME = f"brushlet-exporter {version('brushlet')} ({_code()}, torch {version('torch')})"

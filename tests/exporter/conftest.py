import os
import shutil
from pathlib import Path

import pytest

from runtime.bundle import Bundle


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.fixture
def dist(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle, to export into."""
    return shutil.copytree(tiny_bundle, tmp_path / "dist", copy_function=os.link)

"""Small real filesystems as fixtures; a room's conftest imports those that it wants."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Disk = Callable[..., Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a filesystem of so many bytes, with further mount options."""
    mounted: list[Path] = []

    def mount(size: int, *options: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        chosen = ",".join([f"size={size}", *options])
        call = ["mount", "-t", "tmpfs", "-o", chosen, "none", str(folder)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting a small filesystem is not allowed here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(disk: Disk) -> Path:
    """One of 1 MiB."""
    return disk(1 << 20)


@pytest.fixture
def read_only_disk(disk: Disk) -> Path:
    """One that nothing can be written to."""
    return disk(1 << 20, "ro")

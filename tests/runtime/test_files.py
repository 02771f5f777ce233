import contextlib
import hashlib
from pathlib import Path

from runtime.files import hashed_name, replacing, sha256_file, write_whole


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    with contextlib.suppress(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_a_web_server_may_read(tmp_path: Path) -> None:
    path = tmp_path / "styles" / "a.bin"
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_name_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(3 << 20))
    digest = sha256_file(path)
    assert digest == hashlib.sha256(bytes(3 << 20)).hexdigest()
    assert hashed_name("weights", ".bin", digest) == f"weights-{digest[:16]}.bin"

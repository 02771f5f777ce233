import platform
import subprocess
import sys

import pytest

# glibc raises its threshold when a mapped block is freed; blocks below it then lie in the heap,
# which a block at its end keeps from shrinking.
SCRIPT = """
import ctypes, sys
from exporter.memory import return_large_blocks
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def block(size):
    at = libc.malloc(size)
    libc.memset(at, 1, size)
    return at
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
if sys.argv[1] == "return":
    return_large_blocks()
libc.free(block(31 << 20))
before = resident()
blocks = [block(2 << 20) for _ in range(64)]
end = block(600_000)
for at in blocks:
    libc.free(at)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators do as they do")
def test_freed_blocks_go_back_to_the_system() -> None:
    kept, returned = (
        int(subprocess.check_output([sys.executable, "-c", SCRIPT, how], text=True))
        for how in ("keep", "return")
    )
    assert kept > 100 << 20  # what is worth returning: 128 MiB were freed
    assert returned < 4 << 20

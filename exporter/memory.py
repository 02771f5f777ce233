"""Memory that was freed, given back to the system."""

import ctypes

_MMAP_THRESHOLD = -3  # glibc, malloc.h: M_MMAP_THRESHOLD
_LARGE = 1 << 20  # bytes


def return_large_blocks() -> None:
    """Makes glibc's malloc give blocks of 1 MiB and more back as soon as they are freed.

    By itself it raises that threshold to 32 MiB with use, and keeps what is smaller: of Stable
    Diffusion 1.5, whose weights are widened one by one, over a gigabyte. Other allocators do as
    they do.
    """
    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
    except (AttributeError, OSError, TypeError):  # no glibc; on Windows there is no CDLL(None)
        return

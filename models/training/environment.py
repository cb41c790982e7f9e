"""What a training process needs in its environment before it starts."""

ALLOCATOR_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc keeps freed pages instead of returning them to the kernel at each step: 1-30 % more images
a second, by the machine's load. Read when a process starts, so set before the fork server is."""

"""What a training process needs in its environment before it starts."""

ALLOCATOR_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc keeps freed pages instead of returning them to the kernel at each step: +12-30 % images a
second. Read by glibc when a process starts, so it is set before the fork server is."""

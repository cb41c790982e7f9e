"""The instruction set that trials compute with: another one rounds sums otherwise.

Without torch, whose import takes two seconds: NumPy has asked the processor, too.
"""

import os
import platform

from numpy._core import _multiarray_umath  # type: ignore[attr-defined] # in no stub

_LEVELS = ("DEFAULT", "AVX2", "AVX512")
"""Of torch's kernels on x86-64, ascending."""
_AVX2 = ("AVX2", "FMA3")
_AVX512 = (*_AVX2, "AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ")


def instruction_set() -> str:
    """Return what torch's kernels use here: DEFAULT, AVX2, AVX512; elsewhere the architecture.

    ATEN_CPU_CAPABILITY, which torch obeys, may name a lower one.
    """
    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        return machine
    level = 2 if _has(*_AVX512) else 1 if _has(*_AVX2) else 0
    asked = os.environ.get("ATEN_CPU_CAPABILITY", "").upper()
    return _LEVELS[min(level, _LEVELS.index(asked) if asked in _LEVELS else level)]


def computes_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX-512 BF16)."""
    return instruction_set() == "AVX512" and _has("AVX512BF16")


def _has(*features: str) -> bool:
    known: dict[str, bool] = _multiarray_umath.__cpu_features__
    return all(known.get(feature, False) for feature in features)

"""Whether timm is installed; if so, operators that torchvision asks for when it is imported.

The index's wheel of torchvision beside a CPU build of torch: 'operator torchvision::nms does not
exist'. Networks need neither of the two. To be imported before Lightning, which imports torchvision
where it finds it.
"""

import importlib.util

import pytest
import torch

TIMM = importlib.util.find_spec("timm") is not None
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
needs_timm = pytest.mark.skipif(not TIMM, reason="the extra timm is not installed")

if TIMM:
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            LIBRARY.define(f"{operator}{SIGNATURE}")  # type: ignore[no-untyped-call]

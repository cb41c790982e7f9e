"""Which tensor lies where in an exported network's archive, and whether it is all there."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from flows.registry.safety.program import MOST_DIMENSIONS, Device, TensorPath
from models.config import Record

_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}
"""By the number of torch's ScalarType: bytes, whole numbers, floats and booleans."""


class _Number(Record):
    as_int: Annotated[int, Field(ge=0, lt=2**48)]


_Numbers = Annotated[tuple[_Number, ...], Field(max_length=MOST_DIMENSIONS)]


class _TensorMeta(Record):
    dtype: Annotated[int, Field(ge=1, le=13)]
    sizes: _Numbers
    requires_grad: bool
    device: Device
    strides: _Numbers
    storage_offset: _Number
    layout: Literal[7]
    """Strided."""

    @property
    def extent(self) -> int | None:
        """Bytes of the member that it needs to have; None for a tensor of no known kind.

        At least those of its items: a stride of 0 makes any size of few bytes.
        """
        if self.dtype not in _ITEM_BYTES or len(self.sizes) != len(self.strides):
            return None
        shape = [size.as_int for size in self.sizes]
        if not all(shape):
            return 0
        steps = zip(shape, self.strides, strict=True)
        last = self.storage_offset.as_int + sum((size - 1) * step.as_int for size, step in steps)
        return max(last + 1, math.prod(shape)) * _ITEM_BYTES[self.dtype]


class _Payload(Record):
    path_name: Annotated[str, Field(pattern=r"^(weight|tensor)_[0-9]{1,6}$")]
    is_param: bool
    use_pickle: Literal[False]
    tensor_meta: _TensorMeta


class StoredTensors(Record):
    """model_weights_config.json and model_constants_config.json."""

    config: dict[TensorPath, _Payload]

    def fault(self, members: Mapping[str, int]) -> str | None:
        """Say which tensor is not wholly in its member; None where all are, and no member is more.

        members: name -> bytes. Of a member without bytes, torch makes a tensor of any size.
        """
        if {payload.path_name for payload in self.config.values()} != set(members):
            return "has not the members that its list names"
        for path, payload in self.config.items():
            extent = payload.tensor_meta.extent
            if extent is None or extent > members[payload.path_name]:
                return f"{path} is not in {payload.path_name}"
        return None

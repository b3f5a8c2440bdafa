"""Where a regular expression without a literal may match."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esa_core import Anchor

LONGEST_SHAPE: int

def shapes_of(anchors: Sequence[Anchor], sets: dict[int, int]) -> dict[str, npt.NDArray[np.generic]]: ...
def next_of(members: bytes, text: bytes, start: int = 0, *, plain: bool = False) -> int: ...

"""Types of the module that keeps compiled matchers as one block of octets."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

VERSION: Final = 3

def pack(sections: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8]: ...
def unpack(image: Buffer) -> dict[str, npt.NDArray[np.uint8]]: ...

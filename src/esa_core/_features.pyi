from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

N_FEATURES: Final[int]
TOKEN_SPACE: Final[str]

def word_mask(octets: Buffer, *, plain: bool) -> int: ...
def extract_features(
    messages: Sequence[Buffer], *, families: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]: ...

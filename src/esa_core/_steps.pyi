from collections.abc import Sequence
from typing import Final, Literal

from typing_extensions import Buffer

STEPS: Final[tuple[str, ...]]

def run(messages: Sequence[Buffer], *, step: Literal["structure", "bodies", "decode", "fold"]) -> tuple[int, int]: ...

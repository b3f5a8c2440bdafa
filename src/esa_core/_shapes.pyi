"""Where a regular expression without a literal may match."""

LONGEST_SHAPE: int

def next_of(members: bytes, text: bytes, start: int = 0, *, plain: bool = False) -> int: ...

"""Message identifiers: 26 characters that sort by time, unique without asking anybody; also the queue id in the reply to mail data.

48 bits of Unix milliseconds and 80 bits at random, in Crockford's base 32 (the layout of ULID). Within one process they strictly
increase, so a listing sorted by identifier is a listing sorted by arrival, even within a millisecond or when the clock is set back a
little.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time

LENGTH = 26
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]  # ten bits at a time: 13 look-ups an identifier
_TIME_SHIFTS = range(40, -1, -10)
_SHAPE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
_RANDOM_BITS = 80
_STEP_BITS = 40  # the next one within a millisecond lies up to 2**40 further: not guessable by counting

_NOISE_KEPT = 4_000  # octets of chance fetched at a time: a call of the system costs more than all the rest

_lock = threading.Lock()
_last = 0
_noise = b""
_noise_at = 0
_begin = -1, ""  # the milliseconds of the last one, and the letters that they are


def _forget_noise() -> None:
    global _noise, _noise_at
    _noise, _noise_at = b"", 0


os.register_at_fork(after_in_child=_forget_noise)  # or both would make the same


def new_identifier(now: float | None = None) -> str:
    """Return an identifier greater than all this process made before. `now` is Unix seconds (default: the clock)."""
    global _last, _noise, _noise_at, _begin
    milliseconds = int((time.time() if now is None else now) * 1000) & 0xFFFF_FFFF_FFFF
    with _lock:
        if _noise_at >= len(_noise):
            _noise, _noise_at = os.urandom(_NOISE_KEPT), 0
        noise = int.from_bytes(_noise[_noise_at : _noise_at + 10], "little")
        _noise_at += 10
        value = milliseconds << _RANDOM_BITS | noise
        if value <= _last:
            value = _last + 1 + (noise >> (_RANDOM_BITS - _STEP_BITS))
        _last = value
        milliseconds = value >> _RANDOM_BITS
        if milliseconds != _begin[0]:
            _begin = milliseconds, "".join([_PAIRS[milliseconds >> shift & 1023] for shift in _TIME_SHIFTS])
        begin = _begin[1]
    high, low = value >> 40 & 0xFF_FFFF_FFFF, value & 0xFF_FFFF_FFFF  # small numbers are quicker to take apart
    return (
        f"{begin}{_PAIRS[high >> 30]}{_PAIRS[high >> 20 & 1023]}{_PAIRS[high >> 10 & 1023]}{_PAIRS[high & 1023]}"
        f"{_PAIRS[low >> 30]}{_PAIRS[low >> 20 & 1023]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"
    )


def identifier_of(octets: bytes) -> str:
    """The same 26 characters for the same octets: of a message that never came, for what goes by an identifier."""
    value = int.from_bytes(hashlib.sha256(octets).digest()[:16], "big")
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def identifier_at(seconds: float, octets: bytes) -> str:
    """The same identifier for the same time (Unix seconds) and digest: of what is made anew after a crash. It sorts by that time."""
    value = (int(seconds * 1000) & 0xFFFF_FFFF_FFFF) << _RANDOM_BITS | int.from_bytes(octets[: _RANDOM_BITS // 8], "big")
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def is_identifier(text: str) -> bool:
    """True for 26 upper-case characters of the alphabet that fit in 128 bits."""
    return _SHAPE.match(text) is not None


def time_of(identifier: str) -> float:
    """Return the Unix seconds (to the millisecond) an identifier was made at. Raises ValueError if it is none."""
    if not is_identifier(identifier[:LENGTH]):
        raise ValueError(f"{identifier!r} is no message identifier")
    value = 0
    for letter in identifier[:10]:
        value = value << 5 | _VALUES[letter]
    return value / 1000

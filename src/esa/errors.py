"""Errors for people: each says what is wrong, where, and how to mend it. A class exists only if a caller would act on it differently."""

from __future__ import annotations


class EsaError(Exception):
    """Something failed that a person can mend.

    `what` is the fault in one sentence, `where` the file, key or address it stands at, `mend` what to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n{self.mend}" if self.mend else text


class ConfigurationError(EsaError):
    """The configuration cannot be used; nothing was started or changed."""


class ModelError(EsaError):
    """A model file is cut short, altered, of another feature space, or no model."""


class CorpusError(EsaError):
    """A corpus or an input cannot be read as what it claims to be."""


class StoreError(EsaError):
    """State on disk cannot be read or written: full, read-only, damaged, or in use by another process.

    `is_full`: the disk (or quota) is full; it may work again later without anybody's help, so a receiver answers 452 instead of 451.
    `is_in_use`: another process holds the lock. `is_damaged`: what was stored is gone or altered; trying again will not help.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        mend: str | None = None,
        is_full: bool = False,
        is_in_use: bool = False,
        is_damaged: bool = False,
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.is_full = is_full
        self.is_in_use = is_in_use
        self.is_damaged = is_damaged


class SyntaxFault(EsaError):
    """A value does not follow its grammar (address, reply, term); the remote side or the caller gave it."""

"""Floor 4: every setting once, with its type, unit, default and sentence; loading, checking, and what to mend."""

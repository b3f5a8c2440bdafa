"""Rehearsals: what a configuration would do with a message, without a socket. Used by `esa trace`, `esa replay` and `esa filters check`."""

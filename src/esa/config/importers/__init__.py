"""Readers of other programs' configurations: each gives text for `esa.toml` and notes about what has no counterpart."""

"""Beside the gateway: corpora readers, training and evaluation. Uses floors 1 to 5."""

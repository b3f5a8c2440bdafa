"""Floor 2: what is true of a message. Facts, no opinion of the owner, no I/O beyond loading a model."""

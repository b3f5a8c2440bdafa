"""Floor 3: what shall be done about a message. Pure functions of facts, envelope and configuration; no I/O, no clock."""

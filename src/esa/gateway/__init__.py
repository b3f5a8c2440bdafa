"""Floor 6: the wire and the clock. Sockets, processes, retries."""

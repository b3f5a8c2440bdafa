"""Delivery: out of the spool to the next hop. `deliver` is the process; the others are its parts, from the route to the reply."""

"""Floor 1: the values of mail in the words of RFC 5321, 5322 and 5598. No I/O, no policy."""

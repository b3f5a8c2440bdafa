"""Certificates as files and as servers show them: what they say, whom they stand for, and what is wrong with them."""

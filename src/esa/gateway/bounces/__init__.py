"""Bounces: who is told of mail that could not be delivered, in which words, and how such mail of others is told from forgery."""

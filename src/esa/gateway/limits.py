"""Limits of a listener against slow, greedy and broken clients; each number with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets, seconds and counts. The defaults are Postfix's where it has one."""

    message_size: int = 100 * 2**20  # octets of mail data; SIZE says it, 552 5.3.4 past it; 0: no limit
    recipients: int = 1000  # RFC 5321 section 4.5.3.1.8 asks for at least 100; 452 4.5.3 past it
    recipient_overshoot: int = 1000  # refused with 452 without counting as errors (a pipelining client cannot know)
    errors: int = 20  # unknown commands, wrong syntax and order in one session, then 421
    authentications: int = 5  # failed AUTH commands in one session, then 421
    junk_commands: int = 100  # NOOP, RSET, VRFY, EXPN, HELP, EHLO between two messages, then each counts as an error
    command_timeout: float = 300.0  # for a whole command, not an octet (RFC 5321 section 4.5.3.2)
    data_timeout: float = 180.0  # silence while mail data arrives; and all of it together, plus what its octets take at data_rate
    data_rate: int = 500  # octets a second; slower for longer than data_timeout is an attack (Postfix smtpd_min_data_rate)
    stress_timeout: float = 10.0  # both time-outs while the listener is nearly full (Postfix's stress-adaptive behaviour)
    session_timeout: float = 3600.0  # life of a session; an open transaction may end first
    transactions: int = 1000  # messages of one session, then 421: long sessions hinder the balance between workers
    connections: int = 10_000  # at once on one server; 421 past it
    memory: int = 512 * 2**20  # octets of mail data held in memory by all sessions together; 452 4.3.1 past it
    spill: int = 2**20  # a longer message goes to a file while it arrives

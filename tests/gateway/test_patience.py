"""Failures of AUTH are counted over all processes, exactly, whoever tries at one time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from esa.gateway.authentication import CannotTell, Credentials, Proof, Users
from esa.gateway.patience import FailureLimits, Patience, TooManyFailures
from esa.gateway.rates import NodeRates, create_memory

LIMITS = FailureLimits(of_name=5, of_address=20, window=900.0)
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """Seconds that a test moves on."""

    now = 10_000.0

    def __call__(self) -> float:
        return self.now


class People:
    """Users that all have one password; it counts who was really asked about."""

    name = "people"
    proven_for = 0.0

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.asked = 0
        self.most_at_once = self._now = 0
        self.is_out = False
        self._seconds = seconds

    async def check(self, credentials: Credentials) -> Proof:
        self.asked += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(self._seconds)
        self._now -= 1
        if self.is_out:
            raise CannotTell("away")
        return Proof.RIGHT if credentials.password == b"sesame" else Proof.WRONG

    def reload(self) -> bool:
        return False

    async def close(self) -> None:
        """Nothing."""


class Node:
    """Two workers of one node, and the people that both ask."""

    def __init__(self, memory: int) -> None:
        self.clock, self.memory = Clock(), memory
        self.people = People()
        self.workers = [self.worker(number) for number in range(2)]

    def worker(self, number: int, limits: FailureLimits = LIMITS) -> Users:
        patience = Patience(NodeRates(self.memory, number, clock=self.clock), limits)
        return Users([self.people], patience, failure_seconds=0)

    async def attempt(self, number: int, password: str = "wrong", name: str = "anna", address: str = HERE) -> str:
        """What a try at a worker comes to: right, wrong, or waits."""
        try:
            user = await self.workers[number % 2].verify(Credentials(name, password.encode()), address)
        except TooManyFailures:
            return "waits"
        return "wrong" if user is None else "right"


@pytest.fixture
def node() -> Iterator[Node]:
    memory = create_memory(2)
    yield Node(memory)
    os.close(memory)


async def test_who_guesses_waits_at_every_worker_and_only_there(node: Node) -> None:
    assert [await node.attempt(number) for number in range(8)] == ["wrong"] * 5 + ["waits"] * 3
    assert node.people.asked == 5
    for number in range(2):
        assert await node.attempt(number, "sesame") == "waits"
        assert await node.attempt(number, "sesame", address=ELSEWHERE) == "right"
        assert await node.attempt(number, "sesame", name="ben") == "right"
    assert await node.attempt(0, name="ANNA") == "waits"


async def test_hundreds_at_one_time_fail_not_once_more_than_may(node: Node) -> None:
    node.people = People(seconds=0.01)
    node.workers = [node.worker(number) for number in range(2)]
    came_to = await asyncio.gather(*(node.attempt(number) for number in range(300)))
    assert came_to.count("wrong") == node.people.asked == 5
    assert came_to.count("waits") == 295
    names = await asyncio.gather(*(node.attempt(number, name=f"user{number}") for number in range(300)))
    assert names.count("wrong") == 15  # of 20 of the address five are gone


async def test_those_who_know_their_password_take_turns_and_all_come_in(node: Node) -> None:
    node.people = People(seconds=0.01)
    node.workers = [node.worker(number) for number in range(2)]
    assert await asyncio.gather(*(node.attempt(number, "sesame") for number in range(40))) == ["right"] * 40
    assert node.people.most_at_once <= 5
    assert await node.attempt(0) == "wrong"


async def test_failures_are_forgotten_when_the_window_has_passed(node: Node) -> None:
    for number in range(6):
        await node.attempt(number)
    node.clock.now += LIMITS.window * (1 + 2 / 15)
    assert [await node.attempt(number) for number in range(6)] == ["wrong"] * 5 + ["waits"]


async def test_names_without_end_from_one_address_wait_too(node: Node) -> None:
    came_to = [await node.attempt(number, name=f"user{number}") for number in range(25)]
    assert came_to == ["wrong"] * 20 + ["waits"] * 5


async def test_the_addresses_of_one_ipv6_network_are_one_client(node: Node) -> None:
    came_to = [await node.attempt(number, address=f"2001:db8::{number:x}") for number in range(6)]
    assert came_to == ["wrong"] * 5 + ["waits"]
    assert await node.attempt(0, address="2001:db8:0:1::1") == "wrong"


async def test_an_outage_is_nobodys_failure_and_holds_no_turn(node: Node) -> None:
    node.people.is_out = True
    for number in range(30):
        with pytest.raises(CannotTell):
            await node.attempt(number)
    node.people.is_out = False
    assert await node.attempt(0, "sesame") == "right"


async def test_a_worker_that_dies_in_the_middle_leaves_no_turn_taken(node: Node) -> None:
    node.people = People(seconds=3600.0)
    node.workers = [node.worker(number) for number in range(2)]
    stuck = [asyncio.ensure_future(node.attempt(0)) for _ in range(5)]
    await asyncio.sleep(0.05)
    node.people = People()
    node.workers = [node.worker(0), node.workers[1]]  # a successor of worker 0, while the other lives
    node.workers[1] = node.worker(1)
    assert await node.attempt(1, "sesame") == "right"
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_limits_can_be_lifted(node: Node) -> None:
    node.workers = [node.worker(number, FailureLimits(of_name=-1, of_address=-1)) for number in range(2)]
    assert [await node.attempt(number) for number in range(50)] == ["wrong"] * 50


async def test_a_failure_is_told_no_sooner_than_a_directory_takes(node: Node) -> None:
    users = Users([node.people], Patience.of_one_process(LIMITS), failure_seconds=0.3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await users.verify(Credentials("anna", b"sesame"), HERE) == "anna"
    told = loop.time()
    assert await users.verify(Credentials("anna", b"wrong"), HERE) is None
    assert loop.time() - told >= 0.29 > told - began

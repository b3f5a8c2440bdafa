"""kill -9 of a process that writes a spool, at random moments: every record it said was durable is there, whole, once."""

from __future__ import annotations

import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from esa.store.segments import SpoolReader, read_message
from tests.store.messages import read_all

KILLS = 12
SRC = Path(__file__).resolve().parents[2] / "src"
WRITER = """
import hashlib, os, sys
from pathlib import Path
from tests.store.messages import make_record
from esa.store.spool import Spool
chance = __import__("random").Random(int(sys.argv[2]))
with Spool(Path(sys.argv[1]) / "spool", "receive-0", segment_limit=1 << 20) as spool:
    while True:
        records = [make_record(chance.randbytes(chance.choice([100, 5000, 16384, 16384, 1100000]))) for _ in range(chance.randrange(1, 9))]
        said = "".join(f"{record.id} {hashlib.sha256(record.content).hexdigest()}\\n" for record in records)
        spool.append(records)
        os.write(1, said.encode())
"""


def write_until_killed(state: Path, seed: int, seconds: float) -> dict[str, str]:
    """Run a writer, kill it after a while, and return what it acknowledged: identifier → digest of the content."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), str(SRC.parent)])}
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(state), str(seed)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    said = b""
    deadline: float | None = None
    while deadline is None or time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.02)[0]:
            said += os.read(process.stdout.fileno(), 1 << 16)
            deadline = deadline or time.monotonic() + seconds  # the time counts from the first group
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read()
    process.wait()
    process.stdout.close()
    # A line cut by the kill was not read whole by anybody: it is no acknowledgement.
    return dict(line.split() for line in said.decode().splitlines(keepends=True) if line.endswith("\n"))


def test_no_acknowledged_record_is_lost_by_kill_9(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: dict[str, str] = {}
    for number in range(KILLS):
        acknowledged |= write_until_killed(tmp_path, number, chance.uniform(0.01, 0.4))
    found = read_all(SpoolReader(tmp_path / "spool"))
    assert all(damage.kind == "torn" for damage in found.damages)
    read: dict[str, str] = {}
    for stored in found.stored:
        assert stored.record.id not in read
        read[stored.record.id] = hashlib.sha256(b"".join(list(read_message(tmp_path / "spool", stored.location).chunks())[1:])).hexdigest()
    assert len(acknowledged) > 50
    assert {one: read.get(one) for one in acknowledged} == acknowledged

"""Where mail data ends, as the installed Postfix sees it: the same octets to a live smtpd and to our listener, the same replies.

The positive control is the same Postfix with smtpd_forbid_bare_newline = no: it must be seen to differ, or the comparison sees nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from esa.gateway.limits import Limits
from tests.conftest import absent, find_program, unused_port
from tests.gateway.sessions import Recorder, listening

pytestmark = pytest.mark.servers

CASES = int(os.environ.get("ESA_POSTFIX_CASES", 0)) or 300
MASTER = """cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
error unix - - n - - error
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
MAIN = """compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = peer.example.org
mydestination =
relay_domains = example.com
relay_transport = discard
default_transport = discard
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
import_environment = MAIL_CONFIG
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = 10000
smtpd_junk_command_limit = 10000
smtpd_client_connection_count_limit = 0
smtpd_forbid_unauth_pipelining = no
smtpd_forbidden_commands =
smtpd_recipient_restrictions = permit_mynetworks, reject
"""


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of smtpds by their smtpd_forbid_bare_newline."""
    program = find_program("postfix")
    if program is None:
        absent("the program postfix is not installed")
    if os.geteuid() != 0:
        absent("a private Postfix can only be started by root")
    folder = tmp_path_factory.mktemp("postfix")
    for path in (folder, *folder.parents):
        if path != Path("/") and path.stat().st_uid == 0:
            path.chmod(path.stat().st_mode | 0o055)
    for name in ("conf", "queue", "data"):
        (folder / name).mkdir()
    subprocess.run(["chown", "postfix", folder / "data"], check=True)
    ports = {"normalize": unused_port(), "no": unused_port()}
    services = "".join(
        f"127.0.0.1:{port} inet n - n - - smtpd -o smtpd_forbid_bare_newline={setting} -o smtpd_forbid_bare_newline_exclusions=\n"
        for setting, port in ports.items()
    )
    (folder / "conf" / "main.cf").write_text(MAIN.format(folder=folder))
    (folder / "conf" / "master.cf").write_text(MASTER + services)
    subprocess.run([program, "-c", folder / "conf", "set-permissions"], capture_output=True, check=False)
    with (folder / "out").open("wb") as log:
        running = subprocess.Popen([program, "-c", folder / "conf", "start-fg"], stdout=log, stderr=log)
        try:
            yield ports
        finally:
            subprocess.run([program, "-c", folder / "conf", "stop"], capture_output=True, check=False)
            running.wait(30)


PIECES = (
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b".",
    b".",
    b"\r",
    b"x",
    b"..",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r\n.\n",
    b"\n.\r\n",
    b"\0",
    b"XYZZY\r\n",
)


def random_body(chance: random.Random) -> bytes:
    return b"".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 14)))


def random_session(chance: random.Random) -> bytes:
    """A transaction by DATA or BDAT, and what shows where it ended. Three ends make sure that each side comes to one."""
    opening = b"MAIL FROM:<a@partner.example>\r\nRCPT TO:<u@example.com>\r\n"
    if chance.random() < 0.7:
        transaction = b"DATA\r\n" + random_body(chance) + b"\r\n.\r\n"
    else:
        bodies = [random_body(chance) for _ in range(chance.randrange(1, 4))]
        lasts = [b""] * (len(bodies) - 1) + [b" LAST"]
        transaction = b"".join(b"BDAT %d%s\r\n%s" % (len(body), last, body) for body, last in zip(bodies, lasts, strict=True))
    return b"EHLO c.example\r\n" + opening + transaction + b"RSET\r\nNOOP\r\nQUIT\r\n"


async def codes(port: int, octets: bytes) -> list[str]:
    """The codes of all replies to a session sent at once; of unknown words, which a wrong end makes commands, only that they are refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(octets)
        lines = (await asyncio.wait_for(reader.read(-1), 30)).decode("latin-1").splitlines()
    finally:
        writer.close()
    found = [line[:3] for line in lines if line[3:4] != "-"]
    return ["5" if code[0] == "5" else code for code in found]


async def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    raise AssertionError("Postfix does not listen")


async def differences(peer: int, sessions: list[bytes]) -> list[tuple[bytes, list[str], list[str]]]:
    await wait_for(peer)
    found = []
    async with listening(Recorder(), limits=Limits(errors=10_000)) as running:
        for octets in sessions:
            theirs, ours = await asyncio.gather(codes(peer, octets), codes(running.port, octets))
            if theirs != ours:
                found.append((octets, theirs, ours))
    return found


async def test_mail_data_ends_where_postfix_ends_it(peers: dict[str, int]) -> None:
    chance = random.Random(20231218)
    sessions = [random_session(chance) for _ in range(CASES)]
    found = await differences(peers["normalize"], sessions)
    assert found == [], f"{len(found)} of {len(sessions)}, the first {found[0]}"


async def test_the_comparison_sees_a_postfix_that_ends_mail_data_at_bare_line_feeds(peers: dict[str, int]) -> None:
    chance = random.Random(20231218)
    sessions = [random_session(chance) for _ in range(CASES)]
    assert len(await differences(peers["no"], sessions)) > CASES // 50

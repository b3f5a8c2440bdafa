"""Real mail servers as next hops: Postfix and Exim take what esa delivers, and have it in files of theirs.

Exim conflicts with Postfix as a Debian package: it is fetched by apt-get and unpacked into a folder under build/, never installed. Each runs
as an ordinary process on loopback, with its own folder, and delivers into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.figures import Figure
from tests.chaos.house import house
from tests.chaos.ledger import TOKEN, Ledger, reply_of, settle_account
from tests.conftest import ROOT, find_program, unused_port

PACKAGES = ("exim4-daemon-light", "exim4-base", "libidn12")
BUILT = ROOT / "build" / "peers"
PATIENCE = 40.0
POSTFIX = """compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example.org
mydestination = postfix.example.org
virtual_mailbox_domains = hop.example.org
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtputf8_enable = yes
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
import_environment = MAIL_CONFIG
"""
POSTFIX_SERVICES = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
EXIM = """exim_path = {folder}/exim
deliver_drop_privilege = true
exim_user = {user}
exim_group = {user}
spool_directory = {folder}/spool
log_file_path = {folder}/log-%s
pid_file_path = {folder}/pid
primary_hostname = exim.example.org
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
tls_advertise_hosts =
acl_smtp_rcpt = ok
begin acl
ok:
  accept
begin routers
all:
  driver = accept
  transport = files
begin transports
files:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  user = {user}
  group = {user}
  delivery_date_add
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server: its port, and where its mail lies."""

    name: str
    port: int
    mail: Path


def unpacked() -> Path:
    """The folder of the unpacked packages; fetched once."""
    root = BUILT / "root"
    if not (root / "usr" / "sbin" / "exim4").exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "--quiet", "download", *PACKAGES], cwd=BUILT, check=True, capture_output=True)
        for package in BUILT.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root


@contextlib.asynccontextmanager
async def postfix(folder: Path) -> AsyncGenerator[Peer, None]:
    program = find_program("postfix") or "postfix"
    port = unused_port()
    for name in ("conf", "queue", "data", "mail/all"):
        (folder / name).mkdir(parents=True)
    _open_to_others(folder)
    shutil.chown(folder / "data", "postfix")
    for path in (folder / "mail", folder / "mail" / "all"):
        os.chown(path, 65534, 65534)
    (folder / "conf" / "main.cf").write_text(POSTFIX.format(folder=folder))
    (folder / "conf" / "master.cf").write_text(POSTFIX_SERVICES.format(port=port))
    subprocess.run([program, "-c", folder / "conf", "set-permissions"], capture_output=True, check=False)
    with (folder / "out").open("wb") as log:
        running = subprocess.Popen([program, "-c", folder / "conf", "start-fg"], stdout=log, stderr=log)
        try:
            yield Peer("Postfix", await _listening(port), folder / "mail")
        finally:
            subprocess.run([program, "-c", folder / "conf", "stop"], capture_output=True, check=False)
            await asyncio.to_thread(running.wait, 30)


@contextlib.asynccontextmanager
async def exim(folder: Path) -> AsyncGenerator[Peer, None]:
    root = await asyncio.to_thread(unpacked)
    port, user = unused_port(), "nobody"
    folder.mkdir()
    _open_to_others(folder)
    shutil.chown(folder, user)
    configuration = folder / "exim.conf"
    configuration.write_text(
        EXIM.format(folder=folder, port=port, user=user)
        .replace("exim_group = nobody", "exim_group = nogroup")
        .replace("group = nobody", "group = nogroup")
    )
    # The program asks for a user of this name when it starts; it finds it in files of its own, and the machine keeps its users.
    for name, line in (("passwd", "Debian-exim:x:65533:65533::/nonexistent:/bin/false\n"), ("group", "Debian-exim:x:65533:\n")):
        (folder / name).write_text(Path(f"/etc/{name}").read_text() + line)
    script = 'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && exec "$1/exim" -C "$1/exim.conf" -bdf -q1m'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder)]
    libraries = os.pathsep.join(str(path) for path in (root / "usr" / "lib").glob("*-linux-gnu"))
    program = root / "usr" / "sbin" / "exim4"
    program.chmod(0o755)  # with its setuid bit it would look for no library beside it
    (folder / "exim").write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n')
    (folder / "exim").chmod(0o755)
    with (folder / "out").open("wb") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            yield Peer("Exim", await _listening(port), folder / "mail")
        finally:
            running.terminate()
            await asyncio.to_thread(running.wait, 30)


SERVERS: tuple[Callable[[Path], contextlib.AbstractAsyncContextManager[Peer]], ...] = (postfix, exim)


async def real_next_hops(folder: Path, *, messages: int) -> list[Figure]:
    """Each server in turn: mail of several sizes, for one recipient or two; what the server offers is told."""
    return [await _deliver_to(folder / server.__name__, server, messages) for server in SERVERS]


async def _deliver_to(folder: Path, server: Callable[[Path], contextlib.AbstractAsyncContextManager[Peer]], messages: int) -> Figure:
    folder.mkdir(parents=True)
    async with server(folder / "peer") as peer:
        extensions = await _extensions(peer.port)
        gateway = house(folder / "esa", routes=f'[[smtp_route]]\ndomains = ["hop.example.org"]\nhosts = ["127.0.0.1:{peer.port}"]\n')
        ledger = Ledger()
        gateway.start()
        try:
            for number in range(messages):
                recipients = [f"b{number}@hop.example.org", *([f"c{number}@hop.example.org"] if number % 3 == 0 else [])]
                await ledger.offer(gateway.port, recipients, size=1_500_000 if number % 20 == 19 else 2_000 + 500 * (number % 9))
            deadline = time.monotonic() + PATIENCE
            arrived: set[str] = set()
            while arrived != set(ledger.acknowledged) and time.monotonic() < deadline:
                await asyncio.sleep(0.5)
                arrived = _tokens(peer.mail)
            account = settle_account(gateway, ledger)
        finally:
            await asyncio.to_thread(gateway.end)
    missing = set(ledger.acknowledged) - arrived
    figure = f"{len(arrived)} messages in its files, {len(missing)} missing, {len(account.failed)} failed, {len(account.queued)} wait"
    is_met = not (missing or account.failed or account.queued) and len(ledger.acknowledged) == messages
    return Figure(
        f"{peer.name} as next hop", f"{messages} messages, it offers {' '.join(sorted(extensions))}", figure, "all of them", is_met
    )


def _tokens(mail: Path) -> set[str]:
    found = set()
    for path in mail.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.parent.name == "new" and (token := TOKEN.search(path.read_bytes())) is not None:
                found.add(token[1].decode())
    return found


async def _extensions(port: int) -> set[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reply_of(reader)
    writer.write(b"EHLO client.example.net\r\n")
    words = set()
    while line := await reader.readline():
        words.add(line[4:].decode().split()[0])
        if line[3:4] == b" ":
            break
    writer.close()
    return words & {"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "SIZE", "DSN"}


async def _listening(port: int) -> int:
    for _ in range(600):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return port
        await asyncio.sleep(0.05)
    raise RuntimeError("the server does not listen")


def _open_to_others(folder: Path) -> None:
    """The servers run as users of their own, and have to come to their folders."""
    for path in (folder, *folder.parents):
        if path != Path("/") and path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)

"""Postfix as it accepts mail: into its queue with fsync, then the discard transport, or on by SMTP. Settings frozen; a change is its own commit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from processes import LOOPBACK, Server

MAIN = """compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = {host}
inet_protocols = ipv4
myhostname = peer.example.org
mydestination =
relay_domains = example.net
relay_transport = {transport}
default_transport = {transport}
local_transport = discard
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
import_environment = MAIL_CONFIG
smtputf8_enable = no
default_process_limit = 100
smtpd_client_connection_count_limit = 0
"""


class Postfix:
    """A private Postfix in `folder` (root only: it changes user). Ready when made; `stop` ends it."""

    def __init__(self, folder: Path, port: int, *, sink: str = "") -> None:
        """It hands all mail on to `sink` (host:port), or throws it away."""
        self._configuration, self._queue, data = folder / "conf", folder / "queue", folder / "data"
        for path in (self._configuration, self._queue, data):
            path.mkdir(parents=True)
        shutil.chown(data, "postfix")
        for path in (folder, *folder.parents):  # its processes run as another user and must get through
            if path.stat().st_uid == folder.stat().st_uid and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o055)
        listing = subprocess.check_output(["dpkg", "-L", "postfix"], text=True).split()
        shipped = next(line for line in listing if line.endswith("/master.cf.dist"))
        master = [line for line in Path(shipped).read_text().splitlines() if not line.startswith("smtp      inet")]
        master = [line.replace("       y       ", "       n       ") for line in master]  # no chroot in a private queue
        (self._configuration / "master.cf").write_text("\n".join(master) + f"\n{LOOPBACK}:{port} inet n - n - - smtpd\n")
        transport = f"smtp:[{sink.partition(':')[0]}]:{sink.partition(':')[2]}" if sink else "discard"
        main = MAIN.format(queue=self._queue, data=data, host=LOOPBACK, folder=folder, transport=transport)
        (self._configuration / "main.cf").write_text(main)
        subprocess.run(["postfix", "-c", self._configuration, "set-permissions"], capture_output=True, check=False)
        self._server = Server(["postfix", "-c", str(self._configuration), "start-fg"], port, log=folder / "out.log")

    def cpu_seconds(self) -> float:
        return self._server.cpu_seconds()

    def waiting(self) -> int:
        """Files that are still in its queues."""
        return sum(path.is_file() for name in ("incoming", "active", "maildrop", "deferred") for path in (self._queue / name).rglob("*"))

    def stop(self) -> None:
        subprocess.run(["postfix", "-c", self._configuration, "stop"], capture_output=True, check=False)
        self._server.stop()

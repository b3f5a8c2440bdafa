"""The order of system calls up to a 250, and that the checker of it finds what is out of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.figures import unmet
from tests.chaos.order import check, order_of_calls

ID = "01KB0000000000000000000001"
SPOOL = "/s/spool"
SEGMENT = f"{SPOOL}/receive-0/segments/1.seg"
MADE = f'1 openat(AT_FDCWD, "{SEGMENT}", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 9<{SEGMENT}>'
NAMED = f"1 fsync(8<{SPOOL}/receive-0/segments>) = 0"
WRITTEN = f'2 pwritev(9<{SEGMENT}>, [{{iov_base="\\0\\377{ID}", iov_len=28}}], 1, 0) = 28'
FLUSHED = f"2 fdatasync(9<{SEGMENT}>) = 0"
REPLIED = f'1 write(7<socket:[1]>, "250 2.0.0 accepted {ID}\\r\\n", 40) = 40'


def test_a_reply_behind_write_and_flush_is_in_order() -> None:
    checked = check([MADE, NAMED, WRITTEN, FLUSHED, REPLIED], SPOOL)
    assert (checked.replies, checked.broken) == (1, [])


@pytest.mark.parametrize(
    "lines",
    [
        [MADE, NAMED, WRITTEN, REPLIED, FLUSHED],
        [MADE, WRITTEN, FLUSHED, REPLIED, NAMED],
        [MADE, NAMED, FLUSHED, REPLIED, WRITTEN],
        [MADE, NAMED, WRITTEN, FLUSHED.replace("= 0", "= -1 EIO (Input/output error)"), REPLIED],
        [
            MADE,
            NAMED,
            f"2 fdatasync(9<{SEGMENT}> <unfinished ...>",
            WRITTEN.replace("2", "3", 1),
            "2 <... fdatasync resumed>) = 0",
            REPLIED,
        ],
        [MADE, NAMED, WRITTEN, f"2 fdatasync(9<{SEGMENT}> <unfinished ...>", REPLIED, "2 <... fdatasync resumed>) = 0"],
    ],
)
def test_a_reply_before_its_flush_has_ended_is_out_of_order(lines: list[str]) -> None:
    assert len(check(lines, SPOOL).broken) == 1


@pytest.mark.serial
async def test_what_a_reply_answers_for_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    assert unmet(await order_of_calls(tmp_path, 100)) == []

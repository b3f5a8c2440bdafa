"""The table [recorder] of esa.toml: what is kept of each message for audits, rehearsals and learning, and how much of it."""

from __future__ import annotations

from pydantic import Field

from esa.config.values import DAY, HOUR, MIB, Duration, Size, Table


class Recorder(Table):
    """What the recorder keeps of each message. All limits hold for all receiving processes together; the oldest goes first."""

    enabled: bool = Field(default=True, description="Whether anything is recorded.")
    max_messages: int = Field(default=200_000, ge=1_000, le=100_000_000, description="Most messages kept.")
    max_size: Size = Field(default=1_900 * MIB, ge=64 * MIB, description="Most space that they take, contents apart.")
    retention: Duration = Field(default=14 * DAY, ge=HOUR, le=400 * DAY, description="Age at which they are deleted.")
    record_content: bool = Field(
        default=False,
        description=(
            "Whether messages of up to 1 MiB are kept as they came, encrypted with a key in the state folder. A rehearsal then knows everything of them."
        ),
    )
    content_retention: Duration = Field(default=2 * DAY, ge=HOUR, le=400 * DAY, description="Age at which contents are deleted.")
    content_max_size: Size = Field(default=1_024 * MIB, ge=64 * MIB, description="Most space that contents take.")

"""`esa doctor`: what it looks at, and what it says when something is wrong."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.cli import doctor
from esa.engine.model import DEFAULT_MODEL
from tests.cli.command import esa


def states(done_lines: list[dict[str, object]]) -> dict[str, str]:
    findings = done_lines[0]["findings"]
    assert isinstance(findings, list)
    return {finding["name"]: finding["state"] for finding in findings}


def test_a_sound_installation_is_good(tmp_path: Path, free_port: Callable[[], int]) -> None:
    done = esa("doctor", "--json", "--state", tmp_path / "state", "--listen", f"127.0.0.1:{free_port()}")
    assert done.code == 0
    found = states(done.lines)
    assert list(found) == ["python", "core", "model", "gateway", "learning", "state", "space", "port", "clock"]
    assert "bad" not in found.values()
    assert not (tmp_path / "state").exists()


def test_people_get_a_line_each(tmp_path: Path, free_port: Callable[[], int]) -> None:
    done = esa("doctor", "--state", tmp_path, "--listen", f"127.0.0.1:{free_port()}")
    assert done.code == 0
    assert all(line.startswith(("good", "note", "  ")) for line in done.out.splitlines())


def test_a_port_in_use_is_noted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = esa("doctor", "--json", "--state", tmp_path, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert states(done.lines)["port"] == "note"


def test_an_address_of_another_machine_is_bad(tmp_path: Path) -> None:
    done = esa("doctor", "--json", "--state", tmp_path, "--listen", "192.0.2.1:2525")
    assert (done.code, states(done.lines)["port"]) == (1, "bad")


def test_an_altered_model_is_bad_and_the_mend_is_said(tmp_path: Path, free_port: Callable[[], int]) -> None:
    model = tmp_path / "altered.esamodel"
    model.write_bytes(DEFAULT_MODEL.read_bytes()[:-1] + b"\xff\xff")
    done = esa("doctor", "--state", tmp_path, "--model", model, "--listen", f"127.0.0.1:{free_port()}")
    assert done.code == 1
    assert "altered" in done.out
    assert "Take the file again" in done.out


def test_a_state_folder_that_cannot_be_written_is_bad() -> None:
    done = esa("doctor", "--json", "--state", "/proc/esa", "--listen", "127.0.0.1:0")
    assert (done.code, states(done.lines)["state"]) == (1, "bad")


def test_a_file_in_place_of_the_state_folder_is_bad(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    found = list(doctor._state(tmp_path / "state"))
    assert [finding.state for finding in found] == ["bad"]


@pytest.mark.parametrize(("free", "state"), [(1 << 40, "good"), (512 << 20, "note"), (1 << 20, "bad")])
def test_space_on_the_disk_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert [finding.state for finding in doctor._state(tmp_path)] == ["good", state]


def test_a_clock_before_the_installation_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert doctor._clock().state == "bad"


def test_absent_packages_are_noted_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = list(doctor._extras())
    assert [finding.state for finding in found] == ["note", "note"]
    assert "pip install 'esa-appliance[gateway]'" in found[0].mend


def test_with_a_configuration_it_says_that_nothing_looks_for_viruses(tmp_path: Path, free_port: Callable[[], int]) -> None:
    (tmp_path / "esa.toml").write_text("[mail_flow_policy.ACCEPTED]\nvirus_check = true\n")
    done = esa("doctor", "--state", tmp_path, "--listen", f"127.0.0.1:{free_port()}", "--config", tmp_path / "esa.toml")
    assert "there is no virus engine yet" in done.out


def test_a_wrong_endpoint_is_used_wrongly() -> None:
    assert esa("doctor", "--listen", "nowhere").code == 2

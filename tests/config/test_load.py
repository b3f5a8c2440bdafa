"""A right file becomes a configuration; a wrong one is told whole, with line, table, key, value and mend."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import esa.config
from esa.config.load import Fault, check, load
from esa.config.schema import Configuration, Listener, table_of
from esa.config.sender_groups import WITHOUT_EFFECT
from esa.config.text import write_text
from esa.config.values import split_route
from esa.errors import ConfigurationError


def faults_of(text: str) -> list[Fault]:
    configuration, faults = check(text)
    assert configuration is None
    return faults


def only_fault(text: str) -> Fault:
    faults = faults_of(text)
    assert len(faults) == 1, [str(fault) for fault in faults]
    return faults[0]


def test_without_a_file_the_embedded_defaults_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configuration = load()
    assert [(listener.address, listener.port) for listener in configuration.listener] == [("127.0.0.1", 2525)]
    assert (configuration.metrics.address, configuration.metrics.port) == ("127.0.0.1", 8025)
    assert configuration.state == tmp_path / "state"
    assert configuration.maildir == tmp_path / "state" / "Maildir"
    assert configuration.route is None
    assert configuration.gateway.hostname
    assert configuration.gateway.workers == len(os.sched_getaffinity(0))


def test_an_empty_file_is_the_defaults() -> None:
    assert check("") == (Configuration(), [])


def test_the_file_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "esa.toml").write_text('[gateway]\nhostname = "mx.example.org"\n')
    monkeypatch.chdir(tmp_path)
    assert load().gateway.hostname == "mx.example.org"


def test_relative_paths_start_at_the_file_and_the_option_wins(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("prize\n")
    file = tmp_path / "esa.toml"
    file.write_text('[gateway]\nstate = "var"\n[scan]\ndictionaries = ["words.txt"]\n')
    configuration = load(file)
    assert configuration.state == tmp_path / "var"
    assert configuration.scan.dictionaries == (str(tmp_path / "words.txt"),)
    assert load(file, state=tmp_path / "other").state == tmp_path / "other"


def test_the_written_defaults_read_back_as_the_defaults() -> None:
    assert check(write_text()) == (Configuration(), [])


def test_a_configuration_written_and_read_again_is_equal() -> None:
    configuration, faults = check(
        '[[listener]]\nname = "in"\naddress = "::"\nport = 25\naccept_domains = ["example.org", ".example.net"]\n'
        'command_timeout = "1.5 min"\n'
        '[[listener]]\nname = "out"\nport = 587\n[delivery]\nroute = "[2001:db8::1]:25"\n'
    )
    assert configuration is not None, faults
    assert check(write_text(configuration)) == (configuration, [])
    assert Configuration.from_json(configuration.to_json()) == configuration


def test_every_setting_has_a_sentence() -> None:
    for table in map(table_of, Configuration.model_fields):
        assert table.__doc__
        for name, field in table.model_fields.items():
            assert field.description, name
            assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("RC4-SHA:RC4-MD5:ALL", "RC4-SHA"),
        ("HIGH:SSLv3", "SSLv3"),
        ("HIGH:3DES", "3DES"),
        ("HIGH:aNULL", "aNULL"),
        ("AES256-SHA:AES128-SHA:RC4-SHA:RC4-MD5", "RC4-SHA"),
        ("ALL", "ALL"),
        ("DES-CBC3-SHA", "DES-CBC3-SHA"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_cipher_policy_that_anyone_can_break_is_refused_with_its_reason(setting: str, word: str) -> None:
    fault = only_fault(f'[[listener]]\ntls_ciphers = "{setting}"\n')
    assert (fault.line, fault.key) == (2, "tls_ciphers")
    assert f"refused at {word}: " in fault.what
    assert "intermediate" in fault.mend


@pytest.mark.parametrize("setting", ["modern", "intermediate", "compatible", "ECDHE+AESGCM", "MEDIUM:HIGH:-SSLv2:-aNULL:!RC4:@STRENGTH"])
def test_other_cipher_policies_are_taken(setting: str) -> None:
    configuration, faults = check(f'[[listener]]\ntls_ciphers = "{setting}"\n')
    assert configuration is not None, faults


@pytest.mark.parametrize("version", ["sslv3tlsv1", "SSLv3", "TLSv1", "TLSv1.1"])
def test_old_versions_are_refused_with_their_reason(version: str) -> None:
    assert "RFC 8996" in only_fault(f'[[listener]]\ntls_minimum = "{version}"\n').what


def test_tls_that_must_be_needs_a_certificate_and_files_that_are_there(tmp_path: Path) -> None:
    assert "no certificate" in only_fault('[[listener]]\ntls = "required"\n').what
    assert "vouches" in only_fault('[[listener]]\ntls_client_certificates = "required"\n').what
    text = '[[certificate]]\nchain = "mx.pem"\nkey = "mx.key"\n[[listener]]\ntls = "required"\n'
    _, faults = check(text, base=tmp_path)
    assert [fault.key for fault in faults] == ["chain", "key"]
    for name in ("mx.pem", "mx.key"):
        (tmp_path / name).write_text("")
    (tmp_path / "esa.toml").write_text(text)
    (certificate,) = load(tmp_path / "esa.toml").certificate
    assert (certificate.chain, certificate.key) == (str(tmp_path / "mx.pem"), str(tmp_path / "mx.key"))


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Configuration().gateway.workers = 3


def test_an_unknown_key_is_told_with_the_one_that_was_meant() -> None:
    fault = only_fault("[gateway]\nworker = 3\n")
    assert (fault.line, fault.table, fault.key, fault.value) == (2, "[gateway]", "worker", "3")
    assert fault.mend.startswith("did you mean 'workers'?")


def test_an_unknown_table_is_told_with_the_one_that_was_meant() -> None:
    assert "'mail_policy'" in only_fault("[mailpolicy]\nx = 1\n").mend


def test_all_faults_are_told_at_once_in_order_of_the_file() -> None:
    faults = faults_of('[gateway]\nworkers = "3"\ndrain = 20\n[[listener]]\nname = "a"\n[[listener]]\nname = "b"\nport = 70000\n')
    assert [(fault.line, fault.key) for fault in faults] == [(2, "workers"), (3, "drain"), (8, "port")]
    assert faults[2].table == '[[listener]] "b"'
    assert str(faults[2]) == 'esa.toml, line 8, [[listener]] "b", port = 70000: 70000 is too large.\n  Write at most 65535.'


def test_a_number_without_a_unit_is_refused() -> None:
    assert only_fault("[[listener]]\nmax_message_size = 1000000\n").mend == 'write a size with its unit, as "25 MiB"'


def test_limits_are_told_in_the_unit_of_the_setting() -> None:
    fault = only_fault('[[listener]]\nmax_message_size = "12 KiB"\n')
    assert (fault.what, fault.mend) == ('"12 KiB" is too small', 'write at least "64 KiB"')


def test_no_value_is_bent_into_shape() -> None:
    assert only_fault('[metrics]\nport = "8025"\n').what == '"8025" is no whole number'
    assert only_fault("[metrics]\nport = true\n").what == "true is no whole number"
    assert only_fault("[gateway]\nhostname = 5\n").what == "5 is no text"


def test_a_word_of_a_closed_vocabulary_is_suggested() -> None:
    assert '"refuse"' in only_fault('[mail_policy]\npositive = "refused"\n').mend


def test_a_file_that_is_no_toml_is_told_with_its_line() -> None:
    fault = only_fault("[gateway]\nworkers = 3\nhostname = mx\n")
    assert fault.line == 3
    assert "not TOML" in fault.what


@pytest.mark.parametrize(
    "text", ["listener = 3", "[listener]\nport = 1", "gateway = 3", "listener = []", "a = [", '[[listener]]\nname = "x y"']
)
def test_odd_shapes_are_told_without_a_traceback(text: str) -> None:
    for fault in faults_of(text):
        assert fault.what
        assert fault.mend
        assert "pydantic" not in str(fault)


def test_an_open_relay_is_refused() -> None:
    text = '[delivery]\nroute = "mx.example.org:25"\n[[listener]]\naddress = "0.0.0.0"\n'
    fault = only_fault(text)
    assert "open relay" in fault.what
    assert fault.key == "accept_domains"
    assert check(text + 'accept_domains = ["example.org"]\n')[1] == []


def test_a_relay_for_this_machine_alone_and_a_maildir_for_everybody_are_allowed() -> None:
    assert check('[delivery]\nroute = "mx.example.org:25"\n')[1] == []
    assert check('[[listener]]\naddress = "0.0.0.0"\n')[1] == []


def test_mail_that_is_thrown_away_relays_nothing() -> None:
    configuration, faults = check('[delivery]\nroute = "/dev/null"\n[[listener]]\naddress = "0.0.0.0"\n')
    assert faults == []
    assert configuration is not None
    assert configuration.discards
    assert configuration.route is None


def test_listeners_differ_in_name_and_place() -> None:
    faults = faults_of('[[listener]]\nname = "a"\n[[listener]]\nname = "a"\n')
    assert {fault.key for fault in faults} == {"name", "port"}


def test_thresholds_and_waits_stand_in_order() -> None:
    faults = faults_of('[mail_policy]\nsuspect_above = 80\n[delivery]\nretry_initial = "3 h"\n')
    assert {fault.key for fault in faults} == {"suspect_above", "retry_initial"}


def test_files_that_are_not_there_are_told() -> None:
    faults = faults_of('[scan]\nmodel = "none.esamodel"\ndictionaries = ["none.txt"]\n')
    assert [fault.key for fault in faults] == ["model", "dictionaries number 1"]


def test_load_raises_one_error_that_names_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text("[gateway]\nworker = 3\ndrain = 20\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert "2 things are wrong" in str(caught.value)
    assert f"{file}, line 2, [gateway], worker" in str(caught.value)
    assert f"{file}, line 3, [gateway], drain" in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path, what in [(tmp_path / "none.toml", "no such file"), (tmp_path, "cannot be read")]:
        with pytest.raises(ConfigurationError, match=what):
            load(path)
    (tmp_path / "latin.toml").write_bytes(b'[gateway]\nhostname = "\xe9"\n')
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("route", "split"),
    [
        ("mx.example.org:25", ("mx.example.org", 25)),
        ("[2001:db8::25]:2525", ("2001:db8::25", 2525)),
        ("127.0.0.1:25", ("127.0.0.1", 25)),
        ("mx", None),
        ("mx:0", None),
        ("2001:db8::25:25", None),
        ("mx:25;id:25", None),
        ("", None),
    ],
)
def test_a_route_is_host_and_port(route: str, split: tuple[str, int] | None) -> None:
    assert split_route(route) == split


def test_a_listener_made_by_hand_has_the_same_defaults_as_one_of_a_file() -> None:
    configuration, _ = check('[[listener]]\nname = "mail"\n')
    assert configuration is not None
    assert configuration.listener == (Listener(),)


def test_every_setting_is_asked_for_somewhere() -> None:
    """A setting that nothing reads would be a promise that nothing keeps; of those few that wait, `esa config check` says so."""
    package = Path(esa.config.__file__).parent.parent
    readers = [path for path in package.rglob("*.py") if path.parent.name != "config"]
    within = [
        package / "config" / name
        for name in ("bounces.py", "content_filters.py", "filters.py", "load.py", "policies.py", "sender_groups.py")
    ]
    text = "\n".join(path.read_text("utf-8") for path in [*readers, *within])
    for table in map(table_of, Configuration.model_fields):
        for name in table.model_fields:
            assert name in WITHOUT_EFFECT or re.search(rf"\.{name}\b", text), name

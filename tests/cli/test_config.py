"""`esa config init` and `esa config check`, as a person and a script meet them."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from esa.cli.config import command
from esa.config.load import check
from tests.gateway.certificates import Authority


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_init_writes_a_file_that_check_finds_right(tmp_path: Path) -> None:
    file = str(tmp_path / "esa.toml")
    assert run("init", file)[0] == 0
    code, out, _ = run("check", file)
    assert code == 0
    assert "is right: mail on 127.0.0.1 port 2525; mail goes to Maildir" in out


def test_init_does_not_overwrite_without_force(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text("# mine\n")
    code, _, talk = run("init", str(file))
    assert code == 3
    assert "--force" in talk
    assert file.read_text() == "# mine\n"
    assert run("init", "--force", str(file))[0] == 0
    assert "[gateway]" in file.read_text()


def test_init_writes_to_standard_output() -> None:
    code, out, _ = run("init", "-")
    assert code == 0
    assert check(out)[1] == []


def test_check_says_all_faults_and_exits_1(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text("[gateway]\nworker = 3\ndrain = 20\n")
    code, out, talk = run("check", str(file))
    assert (code, out) == (1, "")
    assert "line 2" in talk
    assert "line 3" in talk
    assert "2 faults found" in talk


def test_check_as_json_is_one_object(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text("[gateway]\nworker = 3\n")
    code, out, _ = run("check", "--json", str(file))
    answer = json.loads(out)
    assert code == 1
    assert answer["valid"] is False
    assert answer["faults"][0]["line"] == 2
    assert answer["faults"][0]["key"] == "worker"


def test_a_file_that_is_not_there_exits_3(tmp_path: Path) -> None:
    code, _, talk = run("check", str(tmp_path / "none.toml"))
    assert code == 3
    assert "esa config init" in talk
    assert "Traceback" not in talk


def test_check_gives_advice_and_still_exits_0(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text('[[sender_group]]\nname = "A"\nsenders = ["10.1.1.0/24", "10.1.1.1"]\n')
    code, out, talk = run("check", str(file))
    assert code == 0
    assert "is right" in out
    assert "advice: sender group A: 10.1.1.1 never matches" in talk
    answer = json.loads(run("check", "--json", str(file))[1])
    assert answer["valid"] is True
    assert answer["advice"][0]["group"] == "A"


def test_an_imported_table_is_right_and_what_was_left_out_exits_1(tmp_path: Path) -> None:
    exported, file = tmp_path / "hat.txt", tmp_path / "esa.toml"
    exported.write_text("$BLOCKED\n  REJECT {}\nBLACKLIST:\n  10.1.1.1\n  $BLOCKED (no)\nALL\n  $ACCEPTED\n")
    code, out, talk = run("import-hat", str(exported))
    assert (code, "esa config check" in talk) == (0, True)
    file.write_text(out)
    assert run("check", str(file))[0] == 0
    exported.write_text("G:\n  SBO:1\n  10.1.1.1\n  $BLOCKED\n")
    code, _, talk = run("import-hat", str(exported))
    assert (code, "SBO:1" in talk) == (1, True)
    exported.write_text("G:\n")
    assert run("import-hat", str(exported))[0] == 3
    assert run("import-hat", str(tmp_path / "none"))[0] == 3


def test_a_certificate_that_does_not_fit_its_key_is_a_fault_and_weak_ciphers_are_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, two = authority.certificate(), authority.certificate()
    text = '[[certificate]]\nchain = "{}"\nkey = "{}"\n[[listener]]\ntls_ciphers = "HIGH:-aNULL"\n'
    file = tmp_path / "esa.toml"
    file.write_text(text.format(one.chain, two.key))
    code, _, told = run("check", str(file))
    assert code == 1
    assert "the key does not belong to the certificate" in told
    file.write_text(text.format(one.chain, one.key))
    code, _, told = run("check", str(file))
    assert code == 0
    assert "no forward secrecy" in told


def test_a_certificate_past_its_time_can_be_served_and_is_told_in_words(tmp_path: Path) -> None:
    old = Authority(tmp_path).certificate(is_expired=True)
    file = tmp_path / "esa.toml"
    file.write_text(f'[[certificate]]\nchain = "{old.chain}"\nkey = "{old.key}"\n')
    code, out, told = run("check", str(file))
    assert (code, "is right" in out) == (0, True)
    assert "has expired: notAfter=Jan  1 00:00:00 2025 GMT" in told


def test_an_imported_recipient_access_table_is_right_and_what_is_dangerous_exits_1(tmp_path: Path) -> None:
    exported, file = tmp_path / "rat.txt", tmp_path / "esa.toml"
    exported.write_text("# exported\n.example.com ACCEPT\nALL REJECT\n")
    code, out, talk = run("import-rat", str(exported))
    assert (code, "esa config check" in talk) == (0, True)
    file.write_text(out)
    assert run("check", str(file))[0] == 0
    exported.write_text("ALL ACCEPT\n")
    code, _, talk = run("import-rat", str(exported))
    assert (code, "open relay" in talk) == (1, True)
    exported.write_text("example.com\n")
    assert run("import-rat", str(exported))[0] == 3
    assert run("import-rat", str(tmp_path / "none"))[0] == 3

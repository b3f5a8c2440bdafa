"""TLS of delivery in esa.toml: every mode is a word of the language, and what would promise what is not kept is refused."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from esa.config.advice import advise
from esa.config.destinations import TlsMode
from esa.config.load import load
from esa.errors import ConfigurationError
from esa.gateway.process import deliver_settings
from esa.policy.tls_modes import Mode
from tests.cli.command import esa
from tests.gateway.chains import Chains


def test_the_words_of_the_configuration_are_the_modes() -> None:
    assert list(get_args(TlsMode)) == [mode.value for mode in Mode]


def test_each_destination_has_its_mode_and_the_rest_that_of_all(tmp_path: Path) -> None:
    (tmp_path / "ours.pem").write_text("")
    (tmp_path / "esa.toml").write_text(
        """
        [delivery]
        route = "USEDNS"
        [delivery_tls]
        authorities = "ours.pem"
        ciphers = "compatible"
        [[destination]]
        domains = ["partner.example"]
        tls = "required-verify"
        tls_names = ["mail.partner.example"]
        """
    )
    settings = deliver_settings(load(tmp_path / "esa.toml"))
    found = {key: settings.router.of_key(key).control for key in ("partner.example", "other.example")}
    assert {key: (control.tls, control.tls_names) for key, control in found.items()} == {
        "partner.example": (Mode.REQUIRED_VERIFY, ("mail.partner.example",)),
        "other.example": (Mode.PREFERRED, ()),
    }
    assert (settings.tls.authorities, settings.tls.ciphers) == (tmp_path / "ours.pem", "compatible")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[destination]]\ndomains = ["x.example"]\ntls = "verify"', "required-verify"),
        ('[delivery_tls]\nciphers = "RC4-SHA"', "RC4 gives its plain text away"),
        ('[delivery_tls]\ncertificate = "a.pem"', "a client's certificate needs its key"),
        ('[delivery_tls]\nauthorities = "nowhere.pem"', "there is no file"),
        ('[dns]\nservers = ["192.0.2.53"]\n[[destination]]\ndomains = ["x.example"]\ntls = "dane"', "192.0.2.53:53 is on another machine"),
    ],
)
def test_what_is_wrong_is_told_with_its_mend(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "esa.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        load(tmp_path / "esa.toml")


def test_dane_is_taken_where_the_name_server_is_believed(tmp_path: Path) -> None:
    dane = '[[destination]]\ndomains = ["x.example"]\ntls = "dane"\n'
    for dns in ('[dns]\nservers = ["127.0.0.1"]', '[dns]\nservers = ["192.0.2.53"]\n[delivery_tls]\ntrust_resolver = true', ""):
        (tmp_path / "esa.toml").write_text(dane + dns)
        assert load(tmp_path / "esa.toml").destination[0].tls == "dane"


def test_a_certificate_of_ours_that_is_not_its_keys_is_told_before_anything_starts(tmp_path: Path) -> None:
    chains = Chains(tmp_path)
    (certificate, _), (_, key) = chains.good("mx.example.org"), chains.good("mx.example.org")
    (tmp_path / "esa.toml").write_text(f'[delivery_tls]\ncertificate = "{certificate}"\nkey = "{key}"\n')
    for command in (("config", "check", tmp_path / "esa.toml"), ("serve", "--config", tmp_path / "esa.toml")):
        done = esa(*command)
        assert done.code in (1, 2)
        assert "the client's certificate and key cannot be used" in done.err


def test_an_interface_of_a_mail_flow_policy_must_be_there(tmp_path: Path) -> None:
    policy = '[mail_flow_policy.RELAYED]\ndelivery_interface = "outt"\n'
    (tmp_path / "esa.toml").write_text(policy)
    with pytest.raises(ConfigurationError, match="no delivery interface is called 'outt'"):
        load(tmp_path / "esa.toml")
    (tmp_path / "esa.toml").write_text(f'{policy}[[delivery_interface]]\nname = "outt"\n')
    assert load(tmp_path / "esa.toml").mail_flow_policy["RELAYED"].delivery_interface == "outt"


def test_mta_sts_on_mail_that_goes_to_named_hosts_is_told_to_have_no_effect(tmp_path: Path) -> None:
    (tmp_path / "esa.toml").write_text(
        """
        [delivery]
        route = "USEDNS"
        [[smtp_route]]
        domains = ["routed.example"]
        hosts = ["mail.example.net:25"]
        [[destination]]
        domains = ["routed.example", "other.example"]
        tls = "mta-sts"
        """
    )
    found = [str(finding) for finding in advise(load(tmp_path / "esa.toml")) if finding.table == "destination"]
    assert [one.partition(":")[0] for one in found] == ["destination routed.example"]
    assert "mail.example.net:25" in found[0]

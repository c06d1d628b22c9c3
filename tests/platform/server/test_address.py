"""The address of a platform: the loopback by default, public addresses only with keys, https with a certificate."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.platform import serving
from sfjobs.platform.server.address import certificate, is_public, listen, url
from sfjobs.platform.store.api_keys import create_key
from sfjobs.platform.store.sqlite.accounts import open_accounts
from tests.support.raw_server import CERTIFICATE

pytestmark = pytest.mark.real_time

ANYWHERE = "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", False), ("localhost", False), ("127.8.8.8", False), (ANYWHERE, True)]
)
def test_only_the_loopback_is_not_public(host: str, expected: bool) -> None:
    with closing(listen(host, 0)) as listener:
        assert is_public(listener) is expected


@pytest.mark.skipif(not socket.has_ipv6, reason="IPv6")
@pytest.mark.parametrize(("host", "expected"), [("::1", False), ("::", True)])
def test_the_same_holds_for_ipv6(host: str, expected: bool) -> None:
    try:
        listener = listen(host, 0)
    except ConfigurationError:
        pytest.skip("no IPv6 here")
    with closing(listener):
        assert is_public(listener) is expected


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300, ""])
def test_what_is_no_address_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot listen"):
        listen(host, 0)


@pytest.mark.parametrize(("mapped", "expected"), [("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", True)])
def test_an_ipv4_address_in_ipv6_is_what_it_stands_for(mapped: str, expected: bool) -> None:
    class Listener:
        def getsockname(self) -> tuple[str, int, int, int]:
            return mapped, 80, 0, 0

    assert is_public(Listener()) is expected  # type: ignore[arg-type]


def test_by_default_it_listens_on_the_loopback() -> None:
    with serving() as platform:
        assert (platform.host, platform.is_public) == ("127.0.0.1", False)


def test_a_public_address_without_a_created_key_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught, serving(host=ANYWHERE, data_dir=tmp_path / "a folder"):
        pass
    what, _, remedy = str(caught.value).partition("\n")
    assert "no API key has been made" in what
    assert f"sfjobs platform keys add NAME --data-dir '{tmp_path / 'a folder'}'" in remedy


def test_the_key_of_the_first_start_is_not_enough(tmp_path: Path) -> None:
    with serving(data_dir=tmp_path / "data"):
        pass
    with pytest.raises(ConfigurationError, match="no API key"), serving(host=ANYWHERE, data_dir=tmp_path / "data"):
        pass


@pytest.mark.parametrize("revoked", [True, False])
def test_a_key_that_was_made_and_not_revoked_is_enough(tmp_path: Path, revoked: bool) -> None:
    with open_accounts(tmp_path / "data", create=True) as accounts:
        create_key(accounts, "alice", "alice")
        if revoked:
            accounts.revoke_key("alice")
    if revoked:
        with pytest.raises(ConfigurationError), serving(host=ANYWHERE, data_dir=tmp_path / "data"):
            pass
    else:
        with serving(host=ANYWHERE, data_dir=tmp_path / "data") as platform:
            assert platform.is_public


def test_one_file_of_two_is_refused() -> None:
    for pair in ((CERTIFICATE, None), (None, CERTIFICATE)):
        with pytest.raises(ConfigurationError, match="two files"):
            certificate(*pair)
    assert certificate(None, None) is None


def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    for path in (tmp_path / "x.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match=path.name):
            certificate(path, CERTIFICATE)


def test_a_key_with_a_password_is_refused_without_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(KEY_WITH_PASSWORD)
    with pytest.raises(ConfigurationError, match="password"):
        certificate(CERTIFICATE, tmp_path / "key.pem")


@pytest.mark.parametrize(
    ("named", "tls", "expected"),
    [
        ("127.0.0.1", False, "http://127.0.0.1"),
        ("127.0.0.1", True, "https://127.0.0.1"),
        ("localhost", False, "http://127.0.0.1"),
        ("localhost", True, "https://localhost"),
        (ANYWHERE, True, "https://127.0.0.1"),
    ],
)
def test_the_url_can_be_reached(named: str, tls: bool, expected: str) -> None:
    with closing(listen("127.0.0.1" if named == "localhost" else named, 0)) as listener:
        assert url(named, listener, tls=tls) == f"{expected}:{listener.getsockname()[1]}"


KEY_WITH_PASSWORD = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgbrC6jS9XT0AICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEH5t/bMN3wVI0QASw2ihE3EEgZBQ
3J5xOABBKe10D4zG5K3ZYvp7fv6LVWrqink4PXv22NOFnmPtp7t2/30sHLPloAeX
SCWiphUBkwMDXVmSTAtbMiQjc6VjH+Zke3FHAdiNJK29ddznWs8h1cd+5sUyYxIr
/jp3Yc2bmi+gSIa+w63olsGBVfrJ50YsSVZo/vkx4G5sryHqE3s2UXIV01Ss6yY=
-----END ENCRYPTED PRIVATE KEY-----
"""

"""Writing one profile of the configuration file: the rest stays unchanged, and the values read back."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfjobs.config import Secret, store_profile
from sfjobs.errors import ConfigurationError

COMMENTED = """\
# The platform at work.
url = "http://old"  # until May
api_key = "old"

# Slow.
read_timeout = 7

# At home.
[profiles.lab]
# Not much.
url = "http://lab"

[profiles."two words"]
retries = 2
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.toml"


def test_a_value_is_replaced_where_it_stands(file):
    file.write_text(COMMENTED)
    store_profile(file, "default", {"url": "http://new", "api_key": Secret("new")})
    assert file.read_text() == COMMENTED.replace("http://old", "http://new").replace('"old"', '"new"')


@pytest.mark.parametrize(
    ("profile", "before", "after"),
    [
        ("default", "read_timeout = 7\n", "read_timeout = 7\nretries = 3\n"),
        ("lab", 'url = "http://lab"\n', 'url = "http://lab"\nretries = 3\n'),
        ("two words", "retries = 2\n", "retries = 3\n"),
        ("new", "retries = 2\n", "retries = 2\n\n[profiles.new]\nretries = 3\n"),
        ("a b", "retries = 2\n", 'retries = 2\n\n[profiles."a b"]\nretries = 3\n'),
    ],
)
def test_every_other_line_stays(file, profile, before, after):
    file.write_text(COMMENTED)
    store_profile(file, profile, {"retries": 3})
    assert file.read_text() == COMMENTED.replace(before, after)


def test_a_key_is_removed(file):
    file.write_text(COMMENTED)
    store_profile(file, "default", {}, without=["api_key", "access_token"])
    assert file.read_text() == COMMENTED.replace('api_key = "old"\n', "")


@pytest.mark.parametrize(
    "text",
    [
        'profiles = {lab = {url = "http://lab"}}\n',
        'profiles.lab.url = "http://lab"\n',
        '[profiles]\nlab = {url = "http://lab"}\n',
        'api_key = """\n[profiles.lab]\nurl = "no"\n"""\n[profiles.lab]\nurl = "http://lab"\n',
        'url = "http://lab"\r\n\r\n[profiles.lab]\r\nread_timeout = 0.5\r\n',
        "[profiles]\n[profiles.lab]\nread_timeout = 7",
    ],
)
def test_a_file_in_unusual_form_keeps_its_values(file, text):
    file.write_bytes(text.encode())
    expected = tomllib.loads(text)
    expected["profiles"]["lab"]["api_key"] = 'a"b\\c\x7f'
    store_profile(file, "lab", {"api_key": Secret('a"b\\c\x7f')})
    assert tomllib.loads(file.read_bytes().decode()) == expected


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS.filter(lambda name: name not in {"", "default"}), TEXTS)
def test_any_name_and_any_text_is_read_back(tmp_path_factory, profile, text):
    file = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_text(COMMENTED)
    store_profile(file, profile, {"url": text})
    document = tomllib.loads(file.read_bytes().decode())
    assert document["profiles"][profile]["url"] == text
    assert document["profiles"].keys() == {"lab", "two words", profile}


def test_a_link_stays_a_link(file, tmp_path):
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "dotfiles" / "sfjobs.toml").write_text("retries = 2\n")
    file.symlink_to(tmp_path / "dotfiles" / "sfjobs.toml")
    store_profile(file, "default", {"retries": 3})
    assert file.is_symlink()
    assert file.read_text() == "retries = 3\n"


@pytest.mark.parametrize(("text", "words"), [("url = ", "not TOML"), ("profiles = 1", "not a table")])
def test_a_file_that_is_not_a_configuration_stays_unchanged(file, text, words):
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        store_profile(file, "lab", {"retries": 3})
    assert file.read_text() == text


def test_a_file_that_cannot_be_written_is_named_and_no_other_file_is_left(file):
    file.mkdir()
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        store_profile(file, "default", {"retries": 3})
    assert list(file.parent.iterdir()) == [file]

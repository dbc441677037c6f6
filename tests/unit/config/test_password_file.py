"""The password file: what `pybroker passwd` writes, the broker reads."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from pybroker.broker.config import load
from pybroker.broker.config.password_file import PasswdError, hashed, remove_user, set_password, users


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pwd.conf"


def as_the_broker_reads_it(file: Path) -> dict[str, str]:
    conf = file.with_name("nanomq.conf")
    conf.write_text(f'auth {{ password = {{include "{file.name}"}} }}\n')
    return dict(load(conf).auth.passwords)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_hash_is_argon2() -> None:
    written = hashed("secret")
    assert written.startswith("$argon2id$")
    assert Argon2Hasher().verify("secret", written)
    assert hashed("secret") != written


NAMES = [
    "ann",
    "a b",
    "ü",
    'a"b',
    "a\\b",
    "a.b",
    "${HOME}",
    "#x",
    "a=b",
    "a:b",
    "{",
    "include",
    "null",
    "//x",
    "'q'",
]


def test_any_name_is_read_as_it_was_given(file: Path) -> None:
    for number, name in enumerate(NAMES):
        assert set_password(file, name, f"$argon2id${number}")
    for number, name in enumerate(NAMES):
        assert not set_password(file, name, f"$argon2id$x{number}")
    expected = {name: f"$argon2id$x{number}" for number, name in enumerate(NAMES)}
    assert as_the_broker_reads_it(file) == expected
    for name in NAMES:
        remove_user(file, name)
        del expected[name]
        assert as_the_broker_reads_it(file) == expected


def test_a_new_file_is_its_makers_own(file: Path) -> None:
    set_password(file, "ann", "x")
    assert mode(file) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(("before", "after"), [(0o600, 0o600), (0o644, 0o640), (0o666, 0o660)])
def test_an_existing_file_is_nothing_to_all_others(file: Path, before: int, after: int) -> None:
    file.write_text("")
    file.chmod(before)
    set_password(file, "ann", "x")
    assert mode(file) == after


def test_what_else_is_in_the_file_stays(file: Path) -> None:
    file.write_text('# ours\n"ann": "public"\n\nbob = secret # a word\n  eve : "x"\n')
    set_password(file, "bob", "$argon2id$1")
    set_password(file, "zoe", "$argon2id$2")
    remove_user(file, "eve")
    assert file.read_text() == '# ours\n"ann": "public"\n\n"bob" = "$argon2id$1"\n"zoe" = "$argon2id$2"\n'


def test_a_user_that_is_there_twice_has_one_password_afterwards(file: Path) -> None:
    file.write_text("ann = one\nann = two\n")
    set_password(file, "ann", "new")
    assert users(file) == {"ann": "new"}
    remove_user(file, "ann")
    assert users(file) == {}


def test_a_name_may_begin_like_another(file: Path) -> None:
    file.write_text("a.b = x\na = y\n")
    assert users(file) == as_the_broker_reads_it(file) == {"a.b": "x", "a": "y"}
    set_password(file, "a", "z")
    assert as_the_broker_reads_it(file) == {"a.b": "x", "a": "z"}


@pytest.mark.parametrize(
    "content", ["ann = x, bob = y\n", "{ ann = x }\n", "ann\n  = x\n", 'a { b = x }\n"a.b" = y\n']
)
def test_what_is_written_otherwise_is_left_alone(file: Path, content: str) -> None:
    file.write_text(content)
    user = "a.b" if "a.b" in content else "ann"
    with pytest.raises(PasswdError, match="does not understand"):
        remove_user(file, user)
    assert file.read_text() == content
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_with_a_fault_is_left_alone(file: Path) -> None:
    file.write_text('"ann = x\n')
    with pytest.raises(PasswdError, match=r"pwd\.conf:1"):
        set_password(file, "bob", "x")
    assert file.read_text() == '"ann = x\n'


def test_nobody_to_remove(file: Path) -> None:
    file.write_text("")
    with pytest.raises(PasswdError, match="there is no user 'ann'"):
        remove_user(file, "ann")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PasswdError, match="No such file or directory"):
        set_password(tmp_path / "none" / "pwd.conf", "ann", "x")


def test_a_link_stays_one(file: Path) -> None:
    target = file.with_name("target.conf")
    target.write_text("")
    file.symlink_to(target)
    set_password(file, "ann", "x")
    assert file.is_symlink()
    assert users(target) == {"ann": "x"}

"""Master keys wrap the keys of data subjects, each for its own data subject only."""

import base64
from pathlib import Path

import pytest

from factwire.domain.errors import KeyUnavailable
from factwire.store.encryption.keys import (
    KEY_BYTES,
    NO_KEYS,
    MasterKeyRefused,
    MasterKeys,
    load_master_keys,
    new_master_key,
    parse_master_keys,
)

OLD, NEW = bytes(KEY_BYTES), bytes(range(KEY_BYTES))


def test_a_new_master_key_is_one() -> None:
    first, second = new_master_key(), new_master_key()
    assert first != second
    assert len(parse_master_keys(f"{first}\n{second}")) == len(parse_master_keys(f"{first},{second}")) == 2


@pytest.mark.parametrize(
    "text", ["short", "é", base64.b64encode(bytes(31)).decode(), f"{base64.b64encode(bytes(32)).decode()} x"]
)
def test_what_is_no_master_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(MasterKeyRefused) as refusal:
        parse_master_keys(text)
    assert not [word for word in text.split() if len(word) > 1 and word in str(refusal.value)]


def test_a_file_has_to_be_there_and_to_hold_a_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with pytest.raises(MasterKeyRefused):
        load_master_keys("", file)
    file.write_text("\n")
    with pytest.raises(MasterKeyRefused):
        load_master_keys("", file)
    assert not load_master_keys("", None)


def test_a_key_opens_for_its_data_subject_and_with_its_master_key_only() -> None:
    keys = MasterKeys([OLD])
    wrapped = keys.new_key("one")
    opened = keys.unwrap("one", "id", wrapped)
    for other, data_subject in ((keys, "another"), (MasterKeys([NEW]), "one"), (NO_KEYS, "one")):
        with pytest.raises(KeyUnavailable):
            other.unwrap(data_subject, "id", wrapped)
    rewrapped = MasterKeys([NEW, OLD]).rewrap("one", wrapped)
    assert rewrapped.master_key != wrapped.master_key
    assert MasterKeys([NEW]).unwrap("one", "id", rewrapped).digesting == opened.digesting


def test_no_two_data_subjects_share_a_key() -> None:
    keys = MasterKeys([OLD])
    opened = [keys.unwrap("one", "id", keys.new_key("one")).digesting for _ in range(3)]
    assert len(set(opened)) == 3

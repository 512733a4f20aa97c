"""JSON that carries its own checksum."""

import hashlib
import json

import pytest

from tfdlrm.base.checksums import (
    PAGE_SEAL,
    BrokenSealError,
    check_seal,
    file_sha256,
    seal,
    unseal,
)

STATE = {"step": 120, "seconds": 1.5, "metrics": [[0.1, 1e-12]], "tables": None}


def test_what_was_sealed_comes_back():
    assert unseal(seal(STATE)) == STATE
    assert unseal(seal({3: "a", "é": float("inf")})) == {"3": "a", "é": float("inf")}


def test_any_json_reader_reads_it():
    digest = hashlib.sha256(json.dumps(STATE).encode()).hexdigest()
    assert json.loads(seal(STATE)) == {**STATE, "sha256": digest}


def test_no_bit_changes_without_a_word():
    sealed = seal(STATE).encode()
    num_refused = 0
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            state = unseal(damaged.decode())
        except ValueError:
            num_refused += 1
        else:  # the name of the checksum itself
            assert {name: state[name] for name in STATE} == STATE
    assert num_refused > 0.9 * 8 * len(sealed)


def test_text_without_a_checksum_is_taken_as_it_is():
    assert unseal('{"step": 3}') == {"step": 3}


@pytest.mark.parametrize("text", ["", "\0\0", "[1]", "3", '{"step": 1'])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(ValueError):
        unseal(text)


def test_the_checksum_of_a_file_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5_000)
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_page_is_sealed_whatever_the_order_of_its_entries():
    page = seal(STATE, PAGE_SEAL)
    assert page.startswith('{\n  "step": 120,')
    text = json.dumps(STATE, sort_keys=True, separators=(",", ":"))
    assert json.loads(page)["checksum"] == hashlib.sha256(text.encode()).hexdigest()
    backwards = dict(reversed(json.loads(page).items()))
    assert unseal(json.dumps(backwards), PAGE_SEAL) == STATE
    with pytest.raises(BrokenSealError, match="its SHA-256 is"):
        check_seal({**backwards, "step": 121}, PAGE_SEAL)

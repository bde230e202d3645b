"""A checkpoint is whole or not there, and reading one never runs code."""

import errno
import os
import pickle

import pytest
import torch

from imtoolkit.callbacks.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from imtoolkit.core.errors import RunError

GOOD = {"state_dict": {"weight": torch.ones(2)}, "epoch": 3}


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_what_is_saved_is_loaded(tmp_path):
    AtomicCheckpointIO().save_checkpoint(GOOD, tmp_path / "a.ckpt")
    found = AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")
    assert found["epoch"] == 3
    assert torch.equal(found["state_dict"]["weight"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=protocol))
    with pytest.raises(RunError, match=r"evil\.ckpt"):
        load_checkpoint(path)
    assert not (tmp_path / "pwned").exists()


def test_a_torch_file_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(RunError, match="holds code"):
        load_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken", b"\x89PNG\r\n\x1a\n" * 9])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(RunError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("kept", [10, 500, 900])
def test_a_torn_checkpoint_is_refused(tmp_path, kept):
    torch.save(GOOD, tmp_path / "a.ckpt")
    (tmp_path / "a.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:kept])
    with pytest.raises(RunError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "a.ckpt")


def test_a_missing_file_and_a_file_of_something_else_say_so(tmp_path):
    with pytest.raises(RunError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "a.ckpt")
    torch.save({"other": 1}, tmp_path / "b.ckpt")
    with pytest.raises(RunError, match="no 'state_dict'"):
        load_checkpoint(tmp_path / "b.ckpt")


def test_a_full_disk_leaves_the_checkpoint_before_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint(GOOD, path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match="No space left"):
        writer.save_checkpoint({**GOOD, "epoch": 4}, path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_state_that_could_not_be_resumed_is_found_when_it_is_first_saved(tmp_path):
    with pytest.raises(RunError, match="holds code or objects"):
        AtomicCheckpointIO().save_checkpoint({**GOOD, "mine": Evil()}, tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []

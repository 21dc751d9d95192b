"""What a checkpoint's writing says when it is stopped in the middle."""

import errno

import pytest
import torch

from xmit.__main__ import main
from xmit.checkpoints import AtomicCheckpointIO
from xmit.interruption import Interrupted


class Stopped:
    """A file that is stopped after some bytes."""

    def __init__(self, file, error):
        self.file, self.error, self.left = file, error, 5000

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise self.error
        return self.file.write(data)

    def flush(self):
        self.file.flush()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Interrupted(15)])
def test_the_reason_is_told_and_the_old_checkpoint_stays(tmp_path, monkeypatch, error):
    """torch itself would say "unexpected pos 639488 vs 639380"."""
    path, old = tmp_path / "last.ckpt", {"weights": torch.zeros(3)}
    AtomicCheckpointIO().save_checkpoint(old, path)
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda checkpoint, draft: real(checkpoint, _stop(draft, error)))
    with pytest.raises(type(error)) as raised:
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(100_000)}, path)
    assert raised.value is error
    assert list(tmp_path.iterdir()) == [path]
    torch.testing.assert_close(AtomicCheckpointIO().load_checkpoint(path), old)


def _stop(draft, error):
    draft.file = Stopped(draft.file, error)
    return draft


def test_a_full_disk_is_one_line(capsys, monkeypatch):
    def full(argv):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("xmit.__main__._run", full)
    assert main(["tasks"]) == 1
    assert capsys.readouterr().err.startswith("xmit: No space left on device: free some, and begin again;")

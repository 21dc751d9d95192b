"""A trainer for tests: on the CPU, in float32, and quiet."""

from xmit import Trainer


def trainer(tmp_path, **kwargs):
    return Trainer(
        **{
            "max_steps": 4,
            "precision": "32-true",
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
            **kwargs,
        }
    )

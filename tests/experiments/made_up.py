"""Records made up for tests, so that none of them depends on what has been run."""

from restore_lib.experiments import RunRecord
from restore_lib.experiments.records import measurement

VALUES = {"x2": {"psnr": (33.125, 34.5), "ssim": (0.91, 0.92)}, "x3": {"psnr": (30.0, 30.5), "ssim": (0.85, 0.86)}}


def record(values=None, **changes) -> RunRecord:
    values = VALUES if values is None else values
    measured = tuple(measurement(c, m, v) for c, metrics in values.items() for m, v in metrics.items())
    fields = {
        "recipe": "bicubic",
        "tier": "cpu",
        "seed": None,
        "steps": 0,
        "dataset": "set5",
        "dataset_hash": "0123456789abcdef" * 4,
        "images": ("baby", "bird"),
        "protocol": "classic",
        "rules": {"result": "rounded to 8 bit"},
        "versions": {"torch": "2.10.0"},
        "device": "cpu: x86_64, 2 threads",
        "seconds": 1.5,
        "finished": "2026-01-02T03:04:05Z",
        "commit": "f" * 40,
        "measurements": measured,
    }
    fields |= changes
    return RunRecord(**fields | {name: tuple(fields[name]) for name in ("images", "measurements")})

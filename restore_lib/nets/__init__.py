"""Networks that several chapters share: encoders of photos, alone or with an upsampler."""

from restore_lib.nets.edsr import EDSR, edsr_baseline, edsr_full

__all__ = ["EDSR", "edsr_baseline", "edsr_full"]

"""Networks that several papers share: encoders of photos, alone or with an upsampler, and RRDBNet."""

from restore_lib.nets.edsr import EDSR, edsr_baseline, edsr_full
from restore_lib.nets.rrdbnet import RRDBNet

__all__ = ["EDSR", "RRDBNet", "edsr_baseline", "edsr_full"]

"""Networks that several chapters share: encoders of photos, alone or with an upsampler."""

from restore_lib.nets.edsr import EDSR, edsr_baseline, edsr_full
from restore_lib.nets.rdn import RDN, small_trunk
from restore_lib.nets.rrdbnet import RRDBNet

__all__ = ["EDSR", "RDN", "RRDBNet", "edsr_baseline", "edsr_full", "small_trunk"]

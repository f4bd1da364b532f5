"""Encoders: from the colours of a small picture to features, one for each pixel."""

from torch import nn

from restore_lib.nets import RDN, edsr_baseline, edsr_full, small_trunk

ENCODERS = {"rdn": RDN, "edsr-baseline": edsr_baseline, "edsr": edsr_full, "small": small_trunk}


def make_encoder(encoder: str | nn.Module) -> tuple[nn.Module, int]:
    """An encoder by name (``rdn``, ``edsr-baseline``, ``edsr``, ``small``) or a module as it is, and its channels.

    A module says how many channels it gives in an attribute ``channels``; without one, 64 are expected.
    """
    if isinstance(encoder, str) and encoder not in ENCODERS:
        raise ValueError(f"encoder must be one of {', '.join(ENCODERS)} or a module, got {encoder!r}")
    module = ENCODERS[encoder]() if isinstance(encoder, str) else encoder
    return module, int(getattr(module, "channels", 64))

"""Paper C, DIINN [nguyen2023diinn], with LIIF [chen2021liif] and Meta-SR [hu2019metasr]: super-resolution at any scale.

A network is called as ``model(lr, size=(height, width))``: colours in [0, 1], a batch of pictures, any size.
``model.encoder`` makes features of normalised colours, ``model.decoder(feature, size)`` normalised colours of features.
"""

from restore_lib.implicit.diinn import DIINN, DIINNDecoder
from restore_lib.implicit.liif import LIIF, LIIFDecoder
from restore_lib.implicit.metasr import MetaSR, MetaSRDecoder

__all__ = [
    "DIINN",
    "LIIF",
    "DIINNDecoder",
    "LIIFDecoder",
    "MetaSR",
    "MetaSRDecoder",
]

"""Paper C, DIINN [nguyen2023diinn], with LIIF [chen2021liif] and Meta-SR [hu2019metasr]: super-resolution at any scale.

A network is called as ``model(lr, size=(height, width))``: colours in [0, 1], a batch of pictures, any size.
``model.encoder`` makes features of normalised colours, ``model.decoder(feature, size)`` normalised colours of features.

- DIINN, Eqs. 1 to 9 and the rows of its ablation: :mod:`~restore_lib.implicit.diinn`
- LIIF, Eqs. 1 and 3 to 5: :mod:`~restore_lib.implicit.liif`
- Meta-SR, Sec. 3.3, Eqs. 3 to 6: :mod:`~restore_lib.implicit.metasr`
- local coordinates and the pixels that answer: :mod:`~restore_lib.implicit.coordinates`
- RDN, the encoder of all three: :mod:`~restore_lib.implicit.encoders`
- loss and training step: :mod:`~restore_lib.implicit.losses`; data and settings: ``crops``, ``trunk``, ``recipes``
- an encoder and a decoder together: ``anyscale``; whole photos: ``inference``

The equations compute everything at every pixel. Networks give the same answers sooner, by
:mod:`restore_lib.fast.decoders`.
"""

from restore_lib.implicit.diinn import DIINN, DIINNDecoder
from restore_lib.implicit.encoders import RDN, small_trunk
from restore_lib.implicit.liif import LIIF, LIIFDecoder
from restore_lib.implicit.metasr import MetaSR, MetaSRDecoder

__all__ = ["DIINN", "LIIF", "RDN", "DIINNDecoder", "LIIFDecoder", "MetaSR", "MetaSRDecoder", "small_trunk"]

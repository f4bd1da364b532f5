"""What can go wrong for a user, each said in one sentence that ends with what to do; the command line exits with code
2.

Programming mistakes (a wrong shape, an unknown option) stay ``ValueError`` and ``TypeError``.
"""


class RestoreError(Exception):
    """Base of every error that the user, not the programmer, can mend."""


class SettingError(RestoreError, ValueError):
    """An environment variable holds a value that means nothing."""


class ImageError(RestoreError):
    """A picture cannot be read, written or trusted."""


class DataError(RestoreError):
    """A data set or weight file is missing, damaged or cannot be downloaded."""


class RecordError(RestoreError):
    """A run record or table cannot be found, read or written."""


class TrainingError(RestoreError):
    """A run that cannot start, go on or be continued: another recipe's folder, a damaged state, a loss that is NaN."""


class CheckpointError(RestoreError):
    """Trained weights or their card are missing, damaged, foreign, or do not fit the network."""


class ResultWarning(UserWarning):
    """There is a result, but it may not be what was hoped for; one sentence that says why."""

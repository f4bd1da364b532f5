"""Image restoration, taught by rebuilding three papers. See README.md and the book."""

__version__ = "0.1.0"

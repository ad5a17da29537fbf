"""u2cut: cut the subject out of photos with U²-Net."""

__version__ = "0.1.0"

"""Decode, composite, encode: bytes in, bytes out; no paths, no torch."""

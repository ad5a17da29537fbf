"""The HTTP service, ``u2cut serve``; needs the extra ``u2cut[serve]``."""

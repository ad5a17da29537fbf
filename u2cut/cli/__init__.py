"""Command line: options in, one frozen options object out; no heavy import."""

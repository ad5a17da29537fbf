"""Which weights there are, and how a name or path becomes a verified local file."""

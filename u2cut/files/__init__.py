"""Files: read within limits; results whole or not there."""

from typing import Final

STD: Final = "-"  # stdin where something is read, stdout where something is written

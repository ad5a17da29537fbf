"""Write docs/commands.md, from the commands themselves.

python docs/reference.py
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from u2cut.cli.app import command_tree

PAGE = Path(__file__).parent / "commands.md"
BEGIN, END = "<!-- reference: written by docs/reference.py -->", "<!-- end of reference -->"


def commands(command: object, path: str = "u2cut") -> Iterator[tuple[str, object]]:
    """Walk the command tree: ("u2cut weights list", command)."""
    inside = getattr(command, "commands", None)
    if inside is None:
        yield path, command
        return
    for name, sub in inside.items():
        yield from commands(sub, f"{path} {name}")


def rows(command: object) -> Iterator[str]:
    """Write one table row an option."""
    for parameter in command.params:  # type: ignore[attr-defined]
        if parameter.param_type_name != "option":
            continue
        flags = [*parameter.opts, *parameter.secondary_opts]
        flags.sort(key=lambda flag: flag.startswith("--"))
        names = ", ".join(f"`{flag}`" for flag in flags)
        value = f" `{parameter.metavar}`".replace("|", "\\|") if parameter.metavar else ""
        default = parameter.default
        shown = str(default)
        if isinstance(parameter.show_default, str):
            shown = parameter.show_default
        elif default in (None, False, True, (), []):
            shown = ""
        help_text = parameter.help.replace("|", "\\|")
        yield f"| {names}{value} | {help_text} | {shown} |"


def reference() -> str:
    """Return the whole section."""
    lines = [BEGIN]
    for path, command in commands(command_tree()):
        options = list(rows(command))
        arguments = " ".join(
            p.metavar or p.name.upper()
            for p in command.params  # type: ignore[attr-defined]
            if p.param_type_name == "argument"
        )
        summary = command.help.split("\n")[0]  # type: ignore[attr-defined]
        lines += ["", f"## `{path}{' ' + arguments if arguments else ''}`", "", summary]
        if options:
            lines += ["", "| option | meaning | default |", "|---|---|---|", *options]
    return "\n".join([*lines, "", END])


def updated(page: str) -> str:
    """Return the page with a fresh reference."""
    pattern = re.escape(BEGIN) + ".*" + re.escape(END)
    return re.sub(pattern, lambda _: reference(), page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
    sys.exit()

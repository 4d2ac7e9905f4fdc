"""``config``: is it right, and what can stand in it?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.columns import Column
from self_healing.cli.options import Format, Shown

app = App(name="config", help_format="plaintext")


@app.command
def validate(*, shown: Shown | None = None) -> int:
    """Load the configuration and all that is declared, run the spec's own tests, and say what was loaded."""
    shown = shown or Shown()
    output.show(_loaded(shown), shown, _print)
    return 0


def _loaded(shown: Shown) -> dict[str, Any]:
    from self_healing.config import CONFIG_FILE
    from self_healing.loading import try_spec
    from self_healing.status import loaded_spec, stored_overrides

    settings = shown.settings()
    spec = loaded_spec(settings)
    try_spec(spec, settings.triggers.tests, settings, stored_overrides(settings))
    file = shown.config or (CONFIG_FILE if CONFIG_FILE.exists() else None)
    return {
        "file": None if file is None else str(file),
        "settings": settings.model_dump(mode="json"),
        "spec_version": spec.version,
        "triggers": {trigger.name: trigger.enabled for trigger in spec.triggers},
        "actions": [action.name for action in spec.actions],
    }


def _print(told: dict[str, Any]) -> None:
    settings, triggers = told["settings"], told["triggers"]
    off = [name for name, enabled in triggers.items() if not enabled]
    output.pairs(
        [
            ("file", told["file"] or "none: every setting has its default"),
            ("mode", settings["actions"]["mode"]),
            ("telemetry", settings["telemetry"]["dir"]),
            ("state", settings["storage"]["state_dir"]),
            ("logs", settings["storage"]["logs_dir"]),
            ("triggers", f"{len(triggers) - len(off)} enabled" + (f", not {', '.join(off)}" if off else "")),
            ("actions", len(told["actions"])),
            ("spec version", told["spec_version"]),
        ]
    )


@app.command
def schema(
    of: Annotated[Literal["config", "triggers", "actions", "tests"], Parameter(help="Which kind of file.")] = "config",
    /,
    *,
    format: Annotated[Format, Parameter(help="How data is printed.")] = Format.JSON,
) -> int:
    """Print the JSON Schema of the configuration file, or of files of triggers, actions or tests, for editors.

    As a table: each key with its default and what it says.
    """
    from self_healing.schemas import SCHEMAS

    output.show_in(format, SCHEMAS[of](), _print_keys)
    return 0


def _print_keys(told: dict[str, Any]) -> None:
    from self_healing.schemas import keys_of

    output.table(
        ("key", "default", Column("what it says", rank=1, text=True)),
        ((key, default, says) for key, default, says in keys_of(told)),
        empty="none",
    )

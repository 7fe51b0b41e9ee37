"""`gridflow destroy`: deletes all that a state folder holds."""

import json
from pathlib import Path

import click

from flows.runtime.commands.options import json_option
from flows.runtime.stack.leftovers import delete_state, folders_of
from tasks.base.errors import ConfigError, Problem, StackError
from tasks.settings.environment import state_dir
from tasks.settings.running import record_path, recorded_stack

_MARKS = ("postgres.json", "stack.lock", "valkey", "history.db", "last_stop.json")


@click.command()
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the one-machine stack's state. [default: $GRIDFLOW_STATE, else ./.gridflow]",
)
@json_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(state: Path | None, as_json: bool, yes: bool) -> None:
    """Delete a state folder: books, history, logs, and what root keeps for it elsewhere. Asks first.

    Trades nothing: sell what a live account holds before (`gridflow liquidate`), and stop the stack. Refuses a folder
    that is not a state folder, and one whose stack runs.
    """
    folder = state_dir(state)
    if not folder.is_dir():
        raise _refused(folder, "no such folder", "Name a state folder with --state DIR")
    if not any((folder / name).exists() for name in _MARKS) and not record_path(folder).exists():
        raise _refused(folder, "this is no state folder of Gridflow", "Name the folder that `up --state DIR` made")
    if recorded_stack(state) is not None:
        raise StackError(f"A stack runs on {folder}. Stop it first: gridflow stop --state {folder}")
    folders = folders_of(folder)
    if not yes:
        names = "\n".join(f"  {each}" for each in folders)
        click.confirm(f"Delete these for ever?\n{names}\nBooks and history are lost", abort=True, err=True)
    delete_state(folder)
    shown = [str(each) for each in folders]
    click.echo(json.dumps({"deleted": shown}) if as_json else "\n".join(f"Deleted {each}" for each in shown))


def _refused(folder: Path, rule: str, remedy: str) -> ConfigError:
    return ConfigError([Problem("--state", str(folder), rule, remedy)], "the command line")

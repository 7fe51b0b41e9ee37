"""The `gridflow` command. A command's module is imported when it is called, so that help is fast."""

import difflib
import importlib
import sys

import click

from tasks.base.errors import ConfigError, GridflowError, SetupRefused

# name → (module of flows.runtime.commands, attribute, line in the help)
_COMMANDS = {
    "init": ("settings_commands", "init", "Write a commented gridflow.toml."),
    "check": (
        "settings_commands",
        "check",
        "Check settings and grids without starting anything.",
    ),
    "up": ("up_command", "up", "Run everything on this machine until Ctrl-C."),
    "stop": ("stop_command", "stop", "Stop trading in order: cancel open orders, save, end."),
    "status": ("stack_commands", "status", "Show money, grids and orders, and why anything waits."),
    "glossary": ("stack_commands", "glossary", "Explain each word that status and screens use."),
    "worker": (
        "worker_command",
        "worker",
        "Run one worker of your own Prefect server until Ctrl-C.",
    ),
    "deploy": ("deploy_commands", "deploy", "Put the settings in force, and update the Prefect deployments."),
    "reload": ("deploy_commands", "reload", "Put the changed settings in force while trading goes on."),
    "rebalance": ("rebalance_command", "rebalance", "Rebalance the pot now and show what moved."),
    "pause": ("pause_commands", "pause", "Grant no new buys, for all symbols or for some."),
    "funds": (
        "audit_commands",
        "funds",
        "Audit and repair the pot, preview an order, write off.",
    ),
    "liquidate": (
        "symbol_commands",
        "liquidate",
        "Sell what symbols hold at the market's price.",
    ),
    "invest": ("capital_commands", "invest", "Let the pot work with more money."),
    "withdraw-profit": ("capital_commands", "withdraw_profit", "Take realised profit out of the pot."),
    "recover": ("audit_commands", "recover", "Rebuild from the exchange what Redis has lost."),
    "history": ("history_commands", "history", "Export the history, or import an export."),
    "top": ("watch_commands", "top", "Show the account in this terminal, and keep it up to date."),
    "dashboard": ("watch_commands", "dashboard", "Serve the dashboard and its HTTP API."),
    "token": ("token_command", "token", "Print a token for the HTTP API."),
    "export-trades": ("history_commands", "export_trades", "Write all trades for tax tools."),
    "alerts": ("alerts_command", "alerts", "Try the channels that alerts are sent through."),
    "backtest": ("backtest_command", "backtest", "Play grids over recorded candles, by the live decisions."),
    "optimize": ("optimize_command", "optimize", "Search for the best grid over recorded candles."),
    "suggest": ("suggest_command", "suggest", "Suggest a grid for a symbol from its candles, with reasons."),
    "report": ("report_command", "report", "Write a page about the trades of some time."),
    "data": ("data_commands", "data", "Fetch or import candles, and show what is there."),
    "destroy": ("destroy_command", "destroy", "Delete a state folder, with books and history. Asks first."),
    "resume": ("pause_commands", "resume", "End a pause or a stop."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"flows.runtime.commands.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0].lower(), _COMMANDS, 1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gridflow")
def cli() -> None:
    """Gridflow: spot grids on many symbols out of one pot of money."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point. A GridflowError becomes one message and exit code 1; wrong settings give exit code 2."""
    try:
        cli.main(args=arguments, prog_name="gridflow", standalone_mode=True)
    except (ConfigError, SetupRefused) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except GridflowError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Names of deployments and work pools, by account."""

from itertools import chain

from tasks.base.deployment_names import DeploymentNames


def _all_names(account: str) -> set[str]:
    names = DeploymentNames(account)
    return {names.tick("BTC/USDT"), names.tick("USDT/ALT"), *names.without_symbol}


def test_account_main_has_the_plain_names() -> None:
    """They are the names that one account alone has always had."""
    names = DeploymentNames("main")
    assert (names.pool, names.tick("BTC/USDT")) == ("gridflow", "grid-tick/btc-usdt")
    assert names.without_symbol == {
        "rebalance/hourly",
        "rebalance/manual",
        "log-status/five-minutes",
        "graceful-stop/manual",
        "resume/manual",
    }


def test_another_account_appends_its_name() -> None:
    """To the pool, to the windows of a symbol and to everything else."""
    names = DeploymentNames("alt")
    assert (names.pool, names.tick("BTC/USDT")) == ("gridflow-alt", "grid-tick/btc-usdt-alt")
    assert names.without_symbol == {
        "rebalance/hourly-alt",
        "rebalance/manual-alt",
        "log-status/five-minutes-alt",
        "graceful-stop/manual-alt",
        "resume/manual-alt",
    }


def test_accounts_never_share_a_name() -> None:
    """Not even where one account's name ends like another's, or is a currency."""
    accounts = ("main", "alt", "alt-2", "2", "usdt", "usdt-alt", "x-main")
    names = list(chain.from_iterable(map(_all_names, accounts)))
    assert len(names) == len(set(names))

"""All Redis keys of Gridflow.

The keys of an account share the hash tag `{account}`, so that scripts over several keys also run on a cluster.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

RECORD_FORMAT = 2  # version of the stored records' format; see tasks/tick/record_format.py


@lru_cache(maxsize=1024)  # every tick names a dozen keys
def slug(symbol: str) -> str:
    """`BTC/USDT` → `btc-usdt`."""
    return symbol.lower().replace("/", "-")


@dataclass(frozen=True)
class Keys:
    """Key names of one account."""

    account: str

    @cached_property
    def prefix(self) -> str:
        return f"gridflow:{{{self.account}}}"

    def _key(self, *parts: str) -> str:
        return f"{self.prefix}:{':'.join(parts)}"

    # --- money -----------------------------------------------------------------------------------------
    @property
    def funds(self) -> str:
        """Hash: the pot. units: pool, used, reserved, short, adopted, invested, withdrawn, reinvested; flags; version,
        inputs; holds (`owner=until`); history_full."""
        return self._key("funds")

    @property
    def funds_symbols(self) -> str:
        """Set of registered symbols: those with an allocation."""
        return self._key("funds", "symbols")

    @property
    def symbols(self) -> str:
        """Set of all symbols ever registered. The books of symbols that left still count."""
        return self._key("symbols")

    @property
    def rebalance_lock(self) -> str:
        """String with expiry: present while no other rebalance may be triggered."""
        return self._key("rebalance", "lock")

    def funds_symbol(self, symbol: str) -> str:
        """Hash: one symbol's share. allocated, used, reserved, cap (units), max_usage (1e-8); flags: paused, liquidate,
        fired (the stop that fired).
        """
        return self._key("funds", slug(symbol))

    def reservations(self, symbol: str) -> str:
        """Hash: open reservation id → units still reserved."""
        return self._key("reservations", slug(symbol))

    @property
    def old_rebalances(self) -> str:
        """List of an earlier version: rebalance reports, newest first. See `tasks/history/lists.py`."""
        return self._key("rebalances")

    @property
    def last_rebalance(self) -> str:
        """String: report of the newest manual or scheduled rebalance, applied or not (JSON)."""
        return self._key("rebalance", "last")

    @property
    def old_blocked(self) -> str:
        """List of an earlier version: refused reservations, newest first."""
        return self._key("blocked")

    @property
    def blocked_counts(self) -> str:
        """Hash `symbol|reason` → count of refused reservations."""
        return self._key("blocked", "counts")

    @property
    def counters(self) -> str:
        """Hash of account-wide counters: rebalances; calls|method and errors|kind of the exchange; log|LEVEL."""
        return self._key("counters")

    @property
    def settings(self) -> str:
        """Hash: the settings in force. version, body (JSON)."""
        return self._key("settings")

    @property
    def format(self) -> str:
        """String: version of the stored records' format."""
        return self._key("format")

    # --- leases ----------------------------------------------------------------------------------------
    def lease(self, symbol: str) -> str:
        """String with expiry: the owner of the lease, who ticks the symbol now."""
        return self._key("lease", slug(symbol))

    def fence(self, symbol: str) -> str:
        """Counter: fence number of the newest lease ever granted."""
        return self._key("fence", slug(symbol))

    @property
    def server(self) -> str:
        """String: replication id and run id of the server that the fences were raised on (see _server.lua)."""
        return self._key("server")

    @property
    def compared(self) -> str:
        """String: ids of the server that the books were last compared with the exchange on; '': they must be."""
        return self._key("server", "compared")

    @property
    def comparison_lock(self) -> str:
        """String with expiry: who compares the books with the exchange now."""
        return self._key("server", "lock")

    @property
    def waiting(self) -> str:
        """Hash: symbol whose books do not agree with the exchange → why. It gets no lease."""
        return self._key("server", "waiting")

    @property
    def uncompared(self) -> str:
        """Hash: symbol that was not listed when the books were compared → 1. Its next tick compares it first."""
        return self._key("server", "uncompared")

    # --- workers and Prefect ---------------------------------------------------------------------------
    @property
    def workers(self) -> str:
        """Hash: worker id → its newest heartbeat, `ms` and JSON (see tasks/tick/heartbeat.py)."""
        return self._key("workers")

    @property
    def prefect(self) -> str:
        """String: what the Prefect server last said about the account's pool and deployments (JSON)."""
        return self._key("prefect")

    @property
    def retention(self) -> str:
        """String: days after which workers delete runs that ended from the Prefect server; none: they delete none."""
        return self._key("prefect", "retention")

    # --- orders and books ------------------------------------------------------------------------------
    def intents(self, symbol: str) -> str:
        """Hash: client order id → journal entry of every order not yet settled."""
        return self._key("intents", slug(symbol))

    def slots(self, symbol: str) -> str:
        """Hash: order slot, or the id of an earlier grid → highest cycle ever journalled in it."""
        return self._key("slots", slug(symbol))

    def old_orders(self, symbol: str) -> str:
        """List of an earlier version: settled orders, newest first."""
        return self._key("orders", slug(symbol))

    def grid(self, symbol: str) -> str:
        """String: the grid in force (JSON)."""
        return self._key("grid", slug(symbol))

    def cells(self, symbol: str) -> str:
        """Hash: cell key → cell record (JSON)."""
        return self._key("cells", slug(symbol))

    def seen(self, symbol: str) -> str:
        """Sorted set: applied trade id → its time (ms)."""
        return self._key("seen", slug(symbol))

    def others(self, symbol: str) -> str:
        """Sorted set: exchange id of an order that is not ours and was looked up → when (ms). Capped."""
        return self._key("others", slug(symbol))

    def old_fills(self, symbol: str) -> str:
        """List of an earlier version: applied fills, newest first. Its newest one stays until there is another."""
        return self._key("fills", slug(symbol))

    def newest_fills(self, symbol: str) -> str:
        """Capped list of the newest applied fills, newest first; the history has them all."""
        return self._key("fills", "newest", slug(symbol))

    def fee_queue(self, symbol: str) -> str:
        """Hash: `SOURCE|TRADE ID` → fee of that trade (JSON, `QueuedFee`), paid in this symbol's base, to be taken
        from its cells. The script that books the trade adds it; the tick that takes it from the cells deletes it.
        """
        return self._key("fees", slug(symbol))

    def book(self, symbol: str) -> str:
        """String: the symbol's ledger totals (JSON)."""
        return self._key("book", slug(symbol))

    def corrections(self, symbol: str) -> str:
        """Hash: id → base that the symbol's next tick takes out of its cells, or puts back into them (JSON)."""
        return self._key("corrections", slug(symbol))

    @property
    def quote_watch(self) -> str:
        """String: the first look that found less quote on the exchange than the pot promises (JSON, `QuoteLook`)."""
        return self._key("quote")

    @property
    def base_watch(self) -> str:
        """Hash: coin → the newest comparison of what the cells hold with the exchange's balance (JSON)."""
        return self._key("base")

    # --- what views read -------------------------------------------------------------------------------
    def last_tick(self, symbol: str) -> str:
        """String: report of the newest tick (JSON)."""
        return self._key("tick", slug(symbol))

    @property
    def dark(self) -> str:
        """Hash: symbol that nobody ticks → since when and why (JSON, see tasks/tick/dark_watch.py)."""
        return self._key("dark")

    @property
    def mode(self) -> str:
        """String: the trading mode of the books, paper or live. See `tasks/tick/trading_mode.py`."""
        return self._key("mode")

    @property
    def stats(self) -> str:
        """Hash of counters and newest errors: ticks|symbol, fills|symbol, error|symbol (JSON), max_committed."""
        return self._key("stats")

    @property
    def day_marks(self) -> str:
        """String: what the daily loss limit remembers of this day (JSON)."""
        return self._key("day")

    @property
    def old_equity(self) -> str:
        """List of an earlier version: equity points, newest first."""
        return self._key("equity")

    @property
    def equity_minute(self) -> str:
        """String with expiry: present while this minute has its equity point."""
        return self._key("equity", "minute")

    @property
    def log(self) -> str:
        """Capped stream of log records for the Logs screen."""
        return self._key("log")

    def log_counts(self, day: str) -> str:
        """Hash with expiry: level → warnings and errors of a UTC day, of all workers."""
        return self._key("log", "counts", day)

    @property
    def events(self) -> str:
        """Capped stream of domain events (allocation_updated, …)."""
        return self._key("events")

    # --- history ---------------------------------------------------------------------------------------
    def daily_report(self, day: str) -> str:
        """String with expiry: a worker shows the report of that day at Prefect, or has done so."""
        return self._key("daily_report", day)

    @property
    def outbox(self) -> str:
        """Stream: records that are not in the history database yet. See `tasks/base/outbox.py`. Never trimmed."""
        return self._key("outbox")

    @property
    def live(self) -> str:
        """Capped stream: the newest records of the outbox under their own ids, for live readers."""
        return self._key("live")

    @property
    def history(self) -> str:
        """Hash: the archiver's state. place (of the database), waiting, bytes, away_ms, away_why; restored_ms,
        restored (what came back after Redis was lost), restored_settings (their version); compare (set until books that
        came back are compared with the exchange); new_market (an operator lets a new paper market begin)."""
        return self._key("history")

    @property
    def history_lease(self) -> str:
        """String with expiry: the archiver that moves records to the database now."""
        return self._key("history", "lease")

    @property
    def history_fence(self) -> str:
        """Counter: fence number of the newest archiver."""
        return self._key("history", "fence")

    # --- alerts ------------------------------------------------------------------------------------------
    @property
    def alerts(self) -> str:
        """Stream: alerts to deliver, with one consumer group a channel. Trimmed only below what every group has."""
        return self._key("alerts")

    @property
    def alerts_seen(self) -> str:
        """Sorted set: key of an alert that is raised once → when it was (ms)."""
        return self._key("alerts", "seen")

    @property
    def alerts_lease(self) -> str:
        """String with expiry: the worker that raises and delivers alerts now."""
        return self._key("alerts", "lease")

    @property
    def alerts_fence(self) -> str:
        """Counter: fence number of the newest such worker."""
        return self._key("alerts", "fence")

    @property
    def alerts_state(self) -> str:
        """Hash: what the watch for alerts remembers. events: id of the newest event read; more in tasks/alerts."""
        return self._key("alerts", "state")

    @property
    def alert_channels(self) -> str:
        """Hash: channel → its state for the views (JSON); `gate|channel` → what it has sent, and
        `dropped|channel` → what it lost and has not told yet (JSON)."""
        return self._key("alerts", "channels")

    @property
    def telegram_lease(self) -> str:
        """String with expiry: the worker that takes Telegram commands now."""
        return self._key("telegram", "lease")

    @property
    def telegram_fence(self) -> str:
        """Counter: fence number of the newest such worker."""
        return self._key("telegram", "fence")

    @property
    def telegram(self) -> str:
        """Hash: offset (id of the next update of the bot)."""
        return self._key("telegram")

    def telegram_update(self, update_id: int) -> str:
        """String with expiry: what an update was answered, and whether the answer was sent (JSON)."""
        return self._key("telegram", "update", str(update_id))

    def telegram_question(self, token: str) -> str:
        """String with expiry: a command that waits for its confirmation (JSON)."""
        return self._key("telegram", "question", token)

    @property
    def once(self) -> str:
        """Sorted set: id of an operator's action that must take effect once → when it did (ms)."""
        return self._key("once")

    # --- rate limits and circuit breakers ------------------------------------------------------------------
    @property
    def budget(self) -> str:
        """Hash: the account's token bucket. left, at (ms)."""
        return self._key("budget")

    @property
    def ban(self) -> str:
        """String with expiry: time (ms) until which no request for this account is sent."""
        return self._key("ban")

    @property
    def breakers(self) -> str:
        """Hash: symbol, or * for the exchange → its circuit breaker (JSON)."""
        return self._key("breakers")

    def shared_reading(self, kind: str, *parts: str) -> str:
        """Hash: a reading of the exchange for all symbols, its time, and its lock. `kind`: orders or tickers."""
        return self._key("shared", kind, *parts)

    # --- paper exchange ------------------------------------------------------------------------------------
    def paper(self, *parts: str) -> str:
        """State of the paper exchange, apart from the books."""
        return self._key("paper", *parts)


@dataclass(frozen=True)
class AddressKeys:
    """Key names for the limits that an exchange sets per IP address. All accounts behind the address share them.

    `address`: a name for the address, where workers reach the exchange from several. The keys have their own hash tag.
    """

    exchange: str
    address: str = "shared"

    @property
    def prefix(self) -> str:
        return f"gridflow:{{ip:{self.exchange}:{self.address}}}"

    @property
    def budget(self) -> str:
        """Hash: the address's token bucket. left, at (ms)."""
        return f"{self.prefix}:budget"

    @property
    def ban(self) -> str:
        """String with expiry: time (ms) until which no request from this address is sent."""
        return f"{self.prefix}:ban"

"""Levels and kinds of alerts. Settings name them, and `tasks/alerts` raises them."""

from enum import IntEnum, StrEnum


class AlertLevel(IntEnum):
    """How serious an alert is. A higher level is more serious."""

    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


class AlertKind(StrEnum):
    """What an alert is about. A user switches each kind on, off or silent for each channel."""

    ORDER_FAILED = "order_failed"  # the exchange refused an order
    ORDER_UNKNOWN = "order_unknown"  # the outcome of an order has been unknown for too long
    LIMIT_HIT = "limit_hit"  # the limit of a symbol or of the pot refuses buys
    FUNDS_DRIFT = "funds_drift"
    FUNDS_SHORT = "funds_short"
    FUNDS_RESTORED = "funds_restored"
    BASE_SHORT = "base_short"
    BASE_RESTORED = "base_restored"
    BASE_MISSING = "base_missing"
    BASE_RETURNED = "base_returned"
    BREAKER = "breaker"  # a circuit breaker opened or closed
    RATE_BAN = "rate_ban"  # the exchange takes no requests for a while
    LEASE_LOST = "lease_lost"
    TICK_LATE = "tick_late"  # a tick is later than `alerts.late_seconds`
    TICK_CRASHED = "tick_crashed"  # a tick ended with an unexpected error
    SYMBOL_DARK = "symbol_dark"
    SYMBOL_TICKS = "symbol_ticks"
    WORKER_GONE = "worker_gone"  # a worker's heartbeat ended without a goodbye
    HISTORY_AWAY = "history_away"
    HISTORY_BACK = "history_back"
    HISTORY_FULL = "history_full"
    FLOW_CRASHED = "flow_crashed"
    PROCESS_CRASHED = "process_crashed"
    STARTED = "started"
    STOP_FIRED = "stop_fired"
    STOPPED = "stopped"
    SETTINGS_CHANGED = "settings_changed"
    DAILY_SUMMARY = "daily_summary"
    FILL = "fill"
    REDIS_RESTARTED = "redis_restarted"
    FLAGS_RESTORED = "flags_restored"
    ORPHAN_ORDER = "orphan_order"
    DEPLOYMENTS_MENDED = "deployments_mended"
    WRITTEN_OFF = "written_off"
    EVENTS_MISSED = "events_missed"  # more happened than the stream of events keeps
    CUSTOM = "custom"  # any other call of AlertManager.send_alert

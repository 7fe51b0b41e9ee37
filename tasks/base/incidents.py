"""Incidents: what Prefect's automations may act on. Ordinary trading is none."""

from enum import StrEnum


class Incident(StrEnum):
    """Every incident, by the name of its Prefect event."""

    FUNDS_DRIFT = "gridflow.funds.drift"  # the audit found differences
    USAGE_DRIFT = "gridflow.usage.drift"  # the usage of two symbols differs by more than 0.3
    ORDER_UNKNOWN = "gridflow.order.unknown"  # the outcome of an order is unknown
    STOP_FIRED = "gridflow.stop.fired"  # trading was stopped, or a symbol's stop fired
    LEASE_LOST = "gridflow.lease.lost"  # another worker took the symbol while this one ticked it

"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "gridflow_actions",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "id"),
    )
    op.create_index("gridflow_actions_by_at_ms", "gridflow_actions", ["account", "at_ms"], unique=False)
    op.create_table(
        "gridflow_archives",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=False),
        sa.Column("has_lists", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "gridflow_blocked",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "order_id", "at_ms"),
    )
    op.create_index("gridflow_blocked_by_at_ms", "gridflow_blocked", ["account", "at_ms"], unique=False)
    op.create_table(
        "gridflow_days",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fills", sa.Integer(), nullable=False),
        sa.Column("volume", sa.Text(), nullable=False),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("profit", sa.Text(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("won", sa.Text(), nullable=False),
        sa.Column("lost", sa.Text(), nullable=False),
        sa.Column("held_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", "side", "day"),
    )
    op.create_index("gridflow_days_by_day", "gridflow_days", ["account", "day"], unique=False)
    op.create_table(
        "gridflow_equity",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("worth", sa.Text(), nullable=False),
        sa.Column("grid_profit", sa.Text(), nullable=False),
        sa.Column("capital", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", "symbol", "at_ms"),
    )
    op.create_table(
        "gridflow_equity_hours",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("hour_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.Text(), nullable=False),
        sa.Column("lowest", sa.Text(), nullable=False),
        sa.Column("highest", sa.Text(), nullable=False),
        sa.Column("last", sa.Text(), nullable=False),
        sa.Column("grid_profit", sa.Text(), nullable=False),
        sa.Column("capital", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", "symbol", "hour_ms"),
    )
    op.create_table(
        "gridflow_events",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "id"),
    )
    op.create_index("gridflow_events_by_at_ms", "gridflow_events", ["account", "at_ms"], unique=False)
    op.create_table(
        "gridflow_fills",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("cell_key", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("fee", sa.Text(), nullable=False),
        sa.Column("fee_currency", sa.Text(), nullable=False),
        sa.Column("fee_quote", sa.Text(), nullable=False),
        sa.Column("maker", sa.Boolean(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("profit", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", "trade_id"),
    )
    op.create_index(
        "gridflow_fills_by_at_ms_symbol_trade_id",
        "gridflow_fills",
        ["account", "at_ms", "symbol", "trade_id"],
        unique=False,
    )
    op.create_index(
        "gridflow_fills_by_symbol_at_ms_trade_id",
        "gridflow_fills",
        ["account", "symbol", "at_ms", "trade_id"],
        unique=False,
    )
    op.create_index(
        "gridflow_fills_by_symbol_cell_key_at_ms",
        "gridflow_fills",
        ["account", "symbol", "cell_key", "at_ms"],
        unique=False,
    )
    op.create_table(
        "gridflow_flags",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("flag", sa.Text(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "scope", "flag"),
    )
    op.create_table(
        "gridflow_grids",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("grid_id", sa.Text(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.Column("levels", sa.Text(), nullable=False),
        sa.Column("first_price", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", "grid_id", "from_ms"),
    )
    op.create_table(
        "gridflow_lots",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("cell_key", sa.Text(), nullable=False),
        sa.Column("lots", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", "cell_key"),
    )
    op.create_table(
        "gridflow_order_changes",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("filled", sa.Text(), nullable=False),
        sa.Column("quote_filled", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "client_id", "sequence"),
    )
    op.create_table(
        "gridflow_orders",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("cell_key", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("filled", sa.Text(), nullable=False),
        sa.Column("quote_filled", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("exchange_id", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "client_id"),
    )
    op.create_index(
        "gridflow_orders_by_symbol_created_ms", "gridflow_orders", ["account", "symbol", "created_ms"], unique=False
    )
    op.create_table(
        "gridflow_rebalance_lines",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("used", sa.Text(), nullable=False),
        sa.Column("committed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "at_ms", "version", "symbol"),
    )
    op.create_table(
        "gridflow_rebalances",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "at_ms", "version"),
    )
    op.create_table(
        "gridflow_rounds",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("sell_id", sa.Text(), nullable=False),
        sa.Column("cell_key", sa.Text(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("cost", sa.Text(), nullable=False),
        sa.Column("proceeds", sa.Text(), nullable=False),
        sa.Column("profit", sa.Text(), nullable=False),
        sa.Column("held_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", "sell_id"),
    )
    op.create_index("gridflow_rounds_by_closed_ms", "gridflow_rounds", ["account", "closed_ms"], unique=False)
    op.create_table(
        "gridflow_settings",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "version", "at_ms"),
    )
    op.create_table(
        "gridflow_unreadable",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "id"),
    )

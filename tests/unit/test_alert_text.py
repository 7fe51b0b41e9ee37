"""The text of alerts, digests and cut messages; and that no secret is in them."""

from datetime import UTC

from tasks.alerts.models import Alert
from tasks.alerts.text import cut, digest_of, escaped_markdown, full_text, head, units
from tasks.base.alert_kinds import AlertKind, AlertLevel
from tasks.base.redaction import Redactor

ALERT = Alert(
    level=AlertLevel.ERROR, title="交易执行失败", message="下单失败", context={"symbol": "BTC/USDT", "amount": "0.5"}
)


def test_an_alert_is_its_level_and_title_its_message_and_its_context() -> None:
    """An alert is its level and title its message and its context."""
    expected = '[ERROR] 交易执行失败\n\n下单失败\n\nContext: {\n  "symbol": "BTC/USDT",\n  "amount": "0.5"\n}'
    assert full_text(ALERT, "en") == expected
    assert full_text(ALERT, "zh") == expected.replace("Context:", "上下文:")
    assert full_text(ALERT.model_copy(update={"context": None}), "en") == "[ERROR] 交易执行失败\n\n下单失败"


def test_a_title_is_one_line() -> None:
    """It stands in the header of an e-mail."""
    assert head(ALERT.model_copy(update={"title": "a\r\nBcc: x@y.z"})) == "[ERROR] a Bcc: x@y.z"


def test_a_digest_counts_what_it_stands_for_the_worst_first() -> None:
    """A digest counts what it stands for the worst first."""
    many = [ALERT.model_copy(update={"at_ms": ms}) for ms in (1000, 2000)]
    fill = Alert(level=AlertLevel.INFO, title="Fill", message="x", at_ms=9000)
    digest = digest_of([fill, *many], "en", UTC)
    assert digest.title == "[ERROR] 3 alerts were held back"
    assert digest.text.splitlines() == [
        "[ERROR] 3 alerts were held back",
        "",
        "from 1970-01-01 00:00:01 UTC to 1970-01-01 00:00:09 UTC",
        "",
        "2 × [ERROR] 交易执行失败 (BTC/USDT)",
        "1 × [INFO] Fill",
    ]


def test_a_digest_of_many_kinds_names_the_first_and_counts_the_rest() -> None:
    """A digest of many kinds names the first and counts the rest."""
    digest = digest_of([ALERT.model_copy(update={"title": f"t{n:02}"}) for n in range(25)], "en", UTC)
    assert digest.text.splitlines()[-1] == "and 5 more of 5 other kinds"


def test_long_text_is_cut_by_telegrams_count_and_says_where_the_rest_is() -> None:
    """Long text is cut by telegrams count and says where the rest is."""
    text = "🙂" * 3000
    short = cut(text, 4096, "en")
    assert units(short) <= 4096
    assert short.endswith("🙂\n… (cut; the whole text is in the log)")
    assert cut("short", 4096, "en") == "short"


def test_markdown_is_escaped() -> None:
    """Markdown is escaped."""
    assert escaped_markdown("a_b *c* <@1>") == r"a\_b \*c\* \<@1\>"


def test_no_secret_is_left_in_a_value_at_any_depth() -> None:
    """No secret is left in a value at any depth."""
    redactor = Redactor(["s3cret-key", "key"])
    value = {"s3cret-key": ["x s3cret-key", {"in": "s3cret-key"}], "n": 3, "yes": True, "none": None}
    assert redactor.value(value) == {"***": ["x ***", {"in": "***"}], "n": 3, "yes": True, "none": None}
    assert Redactor(["1234567"]).value(1234567) == "***"


def test_a_kind_of_a_later_version_is_read_as_custom() -> None:
    """A kind of a later version is read as custom."""
    body = ALERT.model_dump_json().replace('"kind":"custom"', '"kind":"from_the_future","more":1')
    assert Alert.model_validate_json(body).kind is AlertKind.CUSTOM

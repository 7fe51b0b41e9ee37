"""The secrets in the settings."""

from tasks.settings.model import Settings


def secrets_of(settings: Settings) -> list[str]:
    """Every secret value in the settings."""
    exchange = settings.exchange
    held = (exchange.api_key, exchange.secret, exchange.password, settings.redis_url)
    return [secret.get_secret_value() for secret in held if secret is not None]

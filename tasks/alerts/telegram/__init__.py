"""Commands that a Telegram bot takes."""

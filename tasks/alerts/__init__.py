"""Alerts: what is told to people, through which channels, and the commands that Telegram takes."""

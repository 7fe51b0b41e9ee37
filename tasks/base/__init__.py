"""Foundations every stage stands on: settings, money, clock, errors, keys, Redis, logging."""

"""Keeps requests within the exchange's limits: the shared rate budget and the circuit breakers."""

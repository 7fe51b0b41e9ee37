"""What keeps us within an exchange's limits: the shared rate budget and the circuit breakers."""

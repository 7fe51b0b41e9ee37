"""What an operator can do with an account's pot and symbols."""

"""The pot: one total shared by every symbol and every worker; granted, used and freed by atomic scripts."""

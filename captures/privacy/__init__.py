"""What may be kept of an exchange, what replaces the rest, and proof that nothing leaked."""

"""Long videos followed in pieces and joined again."""

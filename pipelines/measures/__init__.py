"""What faces do, in numbers: eyes, mouth, brows, head turn, blinks."""

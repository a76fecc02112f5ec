"""What masks say in numbers: how well they agree."""

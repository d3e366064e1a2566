"""What is claimed about speed and size, measured beside what a person would otherwise take."""

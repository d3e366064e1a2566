"""China Mobile: the terminal-agent service platform, and its language model."""

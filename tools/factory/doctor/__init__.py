"""Why a board is silent: what it and its platform answer (facts), and what that means (lines)."""

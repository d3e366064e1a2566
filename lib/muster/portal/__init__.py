"""The set-up page: where a board finds no Wi-Fi that it knows, its buyer gives it one."""

"""The factory line: images of flash, flashing, deployment, identities."""

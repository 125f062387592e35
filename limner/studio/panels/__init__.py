"""The panels of the studio: a file each, with a `PANEL`. A new file here is a new panel; nothing else names it."""

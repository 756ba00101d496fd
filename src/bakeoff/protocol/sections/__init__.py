"""The sections of a protocol, one kind a file."""

"""People's votes: the record of blind sessions, and agreement."""

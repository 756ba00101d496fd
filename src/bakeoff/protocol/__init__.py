"""The law: what a protocol may say, what a trial reports, and how a verdict follows. Imports no torch."""

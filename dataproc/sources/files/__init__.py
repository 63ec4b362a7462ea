"""Files: where they are, how they are packed and written, and which of them a run reads."""

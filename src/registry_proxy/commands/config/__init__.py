"""The set-up dialogue: questions, the resulting settings, and their files."""

"""The set-up dialogue: questions, the settings that they come to, and the files that are written."""

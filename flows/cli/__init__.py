"""The command line: parse, load, call, print; nothing heavy is imported before a command runs."""

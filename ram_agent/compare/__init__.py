"""Runs held against one another: `ram-agent compare`."""

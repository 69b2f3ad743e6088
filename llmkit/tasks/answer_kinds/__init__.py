"""Kinds of answer beside numbers, options, yes and no, and text: labels, JSON, tool calls and spans."""

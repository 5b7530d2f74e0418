"""Benchmarks of speed and memory, one module a topic; each measures a plain reference in the same run.

A topic is a module with ``measure(args) -> Iterator[Line]`` and a line of ``agents.commands.benchmark.TOPICS``.
"""

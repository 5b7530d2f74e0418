"""The agents that the benchmark ships: one file each, with a ``Config`` dataclass and ``make(task, config)``."""

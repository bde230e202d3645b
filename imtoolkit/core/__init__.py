"""The words that all rooms share: errors, component registry, batch keys, facts, seeds.

Everything here is standard library only (torch and numpy for type checking), so that the command
line and the config can import it at once.
"""

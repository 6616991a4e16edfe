"""From the bytes of a file to the pixels that a viewer would show, and nothing dangerous on the
way.
"""

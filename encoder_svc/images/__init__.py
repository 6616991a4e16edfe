"""From the bytes of a file to the pixels that a viewer would show, with nothing dangerous between."""

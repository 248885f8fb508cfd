"""Lets Pillow open and save .pqm files, once this is imported.

Example:
    import pqmim.pillow
    from PIL import Image

    image = Image.open("photo.pqm")  # size and mode at once, without torch; decoded when used
    image.resize((320, 200)).save("small.pqm", quality=30)
    image.save("tiny.pqm", size=200)
"""

from pqmim.integrations.pillow import FORMAT, MIME, PqmImageFile, register

__all__ = ["FORMAT", "MIME", "PqmImageFile", "register"]

register()

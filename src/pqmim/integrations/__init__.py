"""Doors to other worlds: image libraries, pages, engines, and links that carry little. Each is thin."""

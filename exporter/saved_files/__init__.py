"""Reads notifications that were saved in files.

A file holds JSON texts in any layout: one per line, over several lines, or in a row. A text is a notification, an array
of them, a page of Adobe's journal, an answer of its Flow Service, or an export of webhook.site. The file may be packed
with gzip, and be in UTF-8, UTF-16 or UTF-32. Files are read forward only, so that a pipe is read like a file, and
block by block, so that only the longest text of a file must fit into memory.
"""

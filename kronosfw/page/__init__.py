"""The report of what was forecast and how well: gathered as plain values, then a page or the terminal's version.

``gather`` alone knows stores and feeds; what renders is handed its ``Content``.
"""

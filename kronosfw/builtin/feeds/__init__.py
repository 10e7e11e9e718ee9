"""The built-in feeds that read what a user has: CSV and Parquet files, and tables of a database."""

from .options import CsvFeed, ParquetFeed, SqlFeed

__all__ = ["CsvFeed", "ParquetFeed", "SqlFeed"]

"""Whole runs: notebooks by papermill and Snakemake, many of them, and the estimate before one."""

"""Pages about tables, each one self-contained HTML file: `report_table`."""

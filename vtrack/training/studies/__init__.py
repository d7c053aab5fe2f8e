"""Studies that train many small models and print tables: papers compared, parts left out."""

"""What users ask of each transform."""

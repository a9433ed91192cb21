"""The scenarios, grouped by path; each is a sentence with a service and a floor."""

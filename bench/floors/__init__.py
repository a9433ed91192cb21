"""What the same work costs without anything that makes Factwire what it is: the floor of each scenario."""

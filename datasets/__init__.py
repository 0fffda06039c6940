"""Sample scans; a package only so that installing tomodiff takes them along."""

"""Sample scans that come with the package, and the script that makes them; README.md describes each."""

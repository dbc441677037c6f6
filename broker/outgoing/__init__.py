"""What connections that the broker makes to others have in common; it knows nothing of what they carry."""

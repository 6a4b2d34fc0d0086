"""What a training would be given, measured before anything is trained."""

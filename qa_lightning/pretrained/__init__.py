"""What comes pretrained, or was trained before: the only room that knows where such files come from."""

"""Hot loops over movie frames and detector events."""

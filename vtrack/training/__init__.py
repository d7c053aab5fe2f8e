"""How the shipped models were made: landmark models, the face detector, and studies of what helps."""

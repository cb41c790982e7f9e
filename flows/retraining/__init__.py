"""The steps of one retraining, each called by a task or by the flow."""

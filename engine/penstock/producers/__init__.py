"""Producers, by family: functions that give a `Stream`."""

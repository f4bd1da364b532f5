"""The exercises of each chapter: the library's answer, fresh inputs, and the mistakes that readers make.

A module for each chapter holds ``EXERCISES``, a list of the fields of :class:`restore_lib.teaching.checks.Exercise`.
"""

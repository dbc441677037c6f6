"""MQTT packets as values and as bytes: 3.1, 3.1.1 and 5.0. Pure: no I/O, no clock.

``Decoder`` turns bytes into packets, ``encode`` turns packets into bytes, ``model`` says what a packet holds.
"""

package dev.fovea.client;

/** What one image costs; {@code rowBytes} of all its rows. */
public record TokenCount(
    Size original, Size planned, Grid grid, int patches, int tokens, long rowBytes) {}
